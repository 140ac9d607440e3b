import type {
  Access,
  AccessQuery,
  ApiToken,
  CreateApiTokenRequest,
  CreatedApiToken,
  CreateUserRequest,
  EndedMaker,
  EndedSessions,
  Made,
  MadeQuery,
  Session,
  SignInLink,
  UpdateUserRequest,
  User,
  UserQuery,
} from '@opsconductor/protocol';
import { apiPaths } from '../../paths.ts';
import { request } from '../client.ts';
import { type Page, readAll, readWhole } from '../page.ts';

export function listUsers(query: UserQuery, signal?: AbortSignal): Promise<Page<User>> {
  return request('GET', apiPaths.users({ ...query }), { signal });
}

export function fetchUser(id: number, signal?: AbortSignal): Promise<User> {
  return request('GET', apiPaths.user(id), { signal });
}

export function createUser(user: CreateUserRequest): Promise<User> {
  return request('POST', apiPaths.users(), { body: user });
}

export function updateUser(id: number, user: UpdateUserRequest): Promise<User> {
  return request('PUT', apiPaths.user(id), { body: user });
}

export function deleteUser(id: number): Promise<void> {
  return request('DELETE', apiPaths.user(id));
}

export function createSignInLink(id: number): Promise<SignInLink> {
  return request('POST', apiPaths.userSignInLink(id));
}

export function unlockUser(id: number): Promise<void> {
  return request('POST', apiPaths.userUnlock(id));
}

/** Whose sessions, tokens and rights: a user's, by id, or one's own. */
export type Whose = number | 'me';

export function listSessions(whose: Whose, signal?: AbortSignal): Promise<Session[]> {
  return readWhole(whose === 'me' ? apiPaths.ownSessions() : apiPaths.userSessions(whose), signal);
}

/** Returns what would be ended with an API token, a session, or all other sessions if that is asked for. */
export function fetchMade(whose: Whose, query: MadeQuery, signal?: AbortSignal): Promise<Made> {
  const url = whose === 'me' ? apiPaths.ownMade({ ...query }) : apiPaths.userMade(whose, { ...query });
  return request('GET', url, { signal });
}

/** Returns the sessions and API tokens that have ended, though something made with them still works. */
export function listEndedMakers(whose: Whose, signal?: AbortSignal): Promise<EndedMaker[]> {
  return readWhole(whose === 'me' ? apiPaths.ownEndedMakers() : apiPaths.userEndedMakers(whose), signal);
}

/** Ends a session; with `made`, also what was made in it. */
export async function endSession(whose: Whose, id: number, made: boolean): Promise<void> {
  const query = made ? { made } : {};
  const url = whose === 'me' ? apiPaths.ownSession(id, query) : apiPaths.userSession(whose, id, query);
  await request('DELETE', url);
}

/** Ends all sessions except the one that makes this request; with `made`, also what was made in them. */
export function endSessions(whose: Whose, made: boolean): Promise<EndedSessions> {
  const query = made ? { made } : {};
  return request(
    'DELETE',
    whose === 'me' ? apiPaths.ownSessions(query) : apiPaths.userSessions(whose, query),
  );
}

export function listTokens(whose: Whose, signal?: AbortSignal): Promise<ApiToken[]> {
  return readAll((query) => (whose === 'me' ? apiPaths.tokens(query) : apiPaths.userTokens(whose, query)), {
    signal,
  });
}

export function createToken(whose: Whose, token: CreateApiTokenRequest): Promise<CreatedApiToken> {
  return request('POST', whose === 'me' ? apiPaths.tokens() : apiPaths.userTokens(whose), { body: token });
}

/** Deletes a token; with `made`, also what was made with it. */
export async function deleteToken(whose: Whose, id: number, made: boolean): Promise<void> {
  const query = made ? { made } : {};
  await request('DELETE', whose === 'me' ? apiPaths.token(id, query) : apiPaths.userToken(whose, id, query));
}

/** Returns what the user may do, and why. */
export function fetchAccess(whose: Whose, query: AccessQuery, signal?: AbortSignal): Promise<Access> {
  const url = whose === 'me' ? apiPaths.ownAccess({ ...query }) : apiPaths.userAccess(whose, { ...query });
  return request('GET', url, { signal });
}
