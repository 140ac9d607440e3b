// Routes of users and service accounts: who they are, how they get in, what they may do and why.
import {
  AccessQuerySchema,
  AccessSchema,
  ApiTokenSchema,
  Closed,
  CreateApiTokenRequestSchema,
  CreatedApiTokenSchema,
  CreateUserRequestSchema,
  EndedMakerListSchema,
  EndedSessionsSchema,
  EndQuerySchema,
  Id,
  limits,
  MadeQuerySchema,
  MadeSchema,
  Page,
  pageQuery,
  SessionListSchema,
  SignInLinkSchema,
  UpdateUserRequestSchema,
  UserPageSchema,
  UserQuerySchema,
  UserSchema,
} from '@opsconductor/protocol';
import { createApiToken, listApiTokensOf, revokeApiToken } from '../../../auth/api-tokens.ts';
import { endOtherSessions, endSession, listSessionsOf } from '../../../auth/sign-in/sessions.ts';
import { callerOf } from '../../../caller.ts';
import { AppError } from '../../../errors.ts';
import { requireAtLeast } from '../../../people/change-people.ts';
import { createUser, deleteUser, updateUser } from '../../../people/edit-users.ts';
import { endWithMade, listEndedMakers, listMade } from '../../../people/end-with-made.ts';
import { explainAccess } from '../../../people/explain-access.ts';
import { getUser, listUsers } from '../../../people/list-users.ts';
import type { PeopleDeps } from '../../../people/people-deps.ts';
import { createSignInLink, unlockUser } from '../../../people/sign-in-links.ts';
import type { Tx } from '../../../store/database/connection.ts';
import type { UserRow } from '../../../store/people/users.ts';
import { type RouteRequest, type RouteSpec, route } from '../../route.ts';
import { answerEnded, listedEnded, listedMade, withMade } from './ended-with-made.ts';

const tag = 'people';
const permission = 'people.edit';
const params = Closed({ id: Id });

export function userRoutes(deps: PeopleDeps): RouteSpec[] {
  return [
    ...editRoutes(deps),
    ...wayInRoutes(deps),
    ...sessionRoutes(deps),
    ...tokenRoutes(deps),
    ...accessRoutes(deps),
  ];
}

function editRoutes(deps: PeopleDeps): RouteSpec[] {
  return [
    route({
      method: 'GET',
      path: '/api/v1/users',
      permission,
      summary: 'List users and service accounts by name',
      tag,
      query: UserQuerySchema,
      success: { status: 200, schema: UserPageSchema },
      handle: ({ query }) => listUsers(deps, query),
    }),
    route({
      method: 'POST',
      path: '/api/v1/users',
      permission,
      summary: 'Create a user or a service account',
      description:
        'A user has no password at first: make a sign-in link. A service account has API tokens only. Names are unique, whatever the case of their letters.',
      tag,
      body: CreateUserRequestSchema,
      success: { status: 201, schema: UserSchema },
      handle: (request) => createUser(deps, request.body, callerOf(request)),
    }),
    route({
      method: 'GET',
      path: '/api/v1/users/:id',
      permission,
      summary: 'Get a user',
      tag,
      params,
      success: { status: 200, schema: UserSchema },
      handle: (request) => getUser(deps, request.params.id),
    }),
    route({
      method: 'PUT',
      path: '/api/v1/users/:id',
      permission,
      summary: 'Change, activate or deactivate a user',
      description:
        'Fields that are left out stay unchanged. Deactivating ends sessions and sign-in links and deletes API tokens, permanently. Refused for users who hold more than the caller, and for the last administrator. `expected` gives the values that fields had before the change; if any of them differs by now, the answer is 409, with a detail for each.',
      tag,
      params,
      body: UpdateUserRequestSchema,
      success: { status: 200, schema: UserSchema },
      handle: (request) => updateUser(deps, request.params.id, request.body, callerOf(request)),
    }),
    route({
      method: 'DELETE',
      path: '/api/v1/users/:id',
      permission,
      summary: 'Delete a user who has done nothing yet',
      description:
        'Refused for a user whom a run, a job, a grant or anything else names: deactivate them instead. The audit log keeps the name.',
      tag,
      params,
      success: { status: 204 },
      handle: (request) => deleteUser(deps, request.params.id, callerOf(request)),
    }),
  ];
}

function wayInRoutes(deps: PeopleDeps): RouteSpec[] {
  return [
    route({
      method: 'POST',
      path: '/api/v1/users/:id/sign-in-link',
      permission,
      summary: 'Create a one-time sign-in link that replaces the password',
      description:
        'It signs in once within 24 hours, to set a new password. The current password is removed, and sessions, locks and earlier links end. The link is shown once.',
      tag,
      params,
      success: { status: 201, schema: SignInLinkSchema },
      handle: (request) => createSignInLink(deps, request.params.id, callerOf(request)),
    }),
    route({
      method: 'POST',
      path: '/api/v1/users/:id/unlock',
      permission,
      summary: 'Lift the locks caused by wrong passwords',
      tag,
      params,
      success: { status: 204 },
      handle: (request) => unlockUser(deps, request.params.id, callerOf(request)),
    }),
  ];
}

function sessionRoutes(deps: PeopleDeps): RouteSpec[] {
  return [
    route({
      method: 'GET',
      path: '/api/v1/users/:id/sessions',
      permission,
      summary: 'List where a user is signed in, the session used last first',
      tag,
      params,
      success: { status: 200, schema: SessionListSchema },
      async handle(request) {
        await getUser(deps, request.params.id);
        return listSessionsOf(deps, request.principal, request.params.id);
      },
    }),
    route({
      method: 'DELETE',
      path: '/api/v1/users/:id/sessions',
      permission,
      summary: 'End all sessions of a user',
      description: `If the user is yourself, all except the one that asks. ${withMade} \`made\` then tells of these.`,
      tag,
      params,
      query: EndQuerySchema,
      success: { status: 200, schema: EndedSessionsSchema },
      handle(request) {
        const of = { userId: request.params.id, admit: holdsAtLeast(request) };
        if (request.query.made === true)
          return endWithMade(deps, callerOf(request), { ...of, root: 'sessions' });
        return endOtherSessions(deps, callerOf(request), of);
      },
    }),
    route({
      method: 'DELETE',
      path: '/api/v1/users/:id/sessions/:session',
      permission,
      summary: 'End a session of a user',
      description: `${withMade} The answer then tells of these, also if the session has ended already.`,
      tag,
      params: Closed({ id: Id, session: Id }),
      query: EndQuerySchema,
      success: { status: 204, others: [{ status: 200, schema: MadeSchema }] },
      handle(request) {
        const { id, session } = request.params;
        const of = { userId: id, admit: holdsAtLeast(request) };
        if (request.query.made === true) {
          const root = { kind: 'session', id: session } as const;
          return answerEnded(request, endWithMade(deps, callerOf(request), { ...of, root }));
        }
        return endSession(deps, session, callerOf(request), of);
      },
    }),
    route({
      method: 'GET',
      path: '/api/v1/users/:id/ended-makers',
      permission,
      summary:
        'List the sessions and API tokens of a user that have ended, though something made with them still works',
      description: listedEnded,
      tag,
      params,
      success: { status: 200, schema: EndedMakerListSchema },
      async handle(request) {
        await getUser(deps, request.params.id);
        return listEndedMakers(deps, request.params.id);
      },
    }),
    route({
      method: 'GET',
      path: '/api/v1/users/:id/made',
      permission,
      summary: 'List what was made with an API token or session of a user',
      description: listedMade,
      tag,
      params,
      query: MadeQuerySchema,
      success: { status: 200, schema: MadeSchema },
      async handle(request) {
        await getUser(deps, request.params.id);
        return listMade(deps, request.params.id, request.query, callerOf(request));
      },
    }),
  ];
}

function tokenRoutes(deps: PeopleDeps): RouteSpec[] {
  return [
    route({
      method: 'GET',
      path: '/api/v1/users/:id/tokens',
      permission,
      summary: 'List the API tokens of a user or service account, newest first',
      tag,
      params,
      query: Closed(pageQuery),
      success: { status: 200, schema: Page(ApiTokenSchema) },
      async handle({ params, query }) {
        await getUser(deps, params.id);
        const { cursor, limit = limits.defaultPageItems } = query;
        return listApiTokensOf(deps, params.id, cursor === undefined ? { limit } : { limit, cursor });
      },
    }),
    route({
      method: 'POST',
      path: '/api/v1/users/:id/tokens',
      permission,
      summary: 'Create an API token for a service account',
      description:
        'The token is shown once. People create their own. Refused for accounts that hold more than the caller.',
      tag,
      params,
      body: CreateApiTokenRequestSchema,
      success: { status: 201, schema: CreatedApiTokenSchema },
      handle: (request) =>
        createApiToken(deps, request.body, callerOf(request), {
          ownerId: request.params.id,
          async admit(tx, owner) {
            if (owner.kind !== 'service') {
              throw new AppError(
                'conflict',
                `${owner.name} is a person; people create their API tokens themselves.`,
              );
            }
            await holdsAtLeast(request)(tx, owner);
          },
        }),
    }),
    route({
      method: 'DELETE',
      path: '/api/v1/users/:id/tokens/:token',
      permission,
      summary: 'Revoke an API token of a user or service account',
      description: `${withMade} The answer then tells of these, also if the token has ended already.`,
      tag,
      params: Closed({ id: Id, token: Id }),
      query: EndQuerySchema,
      success: { status: 204, others: [{ status: 200, schema: MadeSchema }] },
      handle(request) {
        const { id, token } = request.params;
        const admit = holdsAtLeast(request);
        if (request.query.made === true) {
          const root = { kind: 'api_token', id: token } as const;
          return answerEnded(request, endWithMade(deps, callerOf(request), { userId: id, admit, root }));
        }
        return revokeApiToken(deps, token, callerOf(request), { ownerId: id, admit });
      },
    }),
  ];
}

function accessRoutes(deps: PeopleDeps): RouteSpec[] {
  const description =
    'Without `permission`: each right with the grants that give it. With `permission`, and a job, target, run, category, segment or target group: whether they may do that there, and by which grants, or what is missing. What the caller may not see is answered as not found.';
  return [
    route({
      method: 'GET',
      path: '/api/v1/users/:id/access',
      permission,
      summary: 'What may this user do, and why?',
      description,
      tag,
      params,
      query: AccessQuerySchema,
      success: { status: 200, schema: AccessSchema },
      handle: ({ params, query, principal }) =>
        explainAccess(deps, params.id, query, principal.authority.reach('read')),
    }),
    route({
      method: 'GET',
      path: '/api/v1/me/access',
      permission: 'self',
      summary: 'What may I do, and why?',
      description,
      tag: 'identity',
      query: AccessQuerySchema,
      success: { status: 200, schema: AccessSchema },
      errors: ['not_found'],
      handle: ({ query, principal }) =>
        explainAccess(deps, principal.userId, query, principal.authority.reach('read')),
    }),
  ];
}

/** Returns a check that refuses changes to a user who holds more than the caller. */
function holdsAtLeast(
  request: Pick<RouteRequest<unknown, unknown, unknown>, 'principal' | 'address' | 'requestId'>,
) {
  return (tx: Tx, user: UserRow) => requireAtLeast(tx, callerOf(request), user.grants);
}
