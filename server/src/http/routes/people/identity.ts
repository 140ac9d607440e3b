// Routes of the caller's own account: who they are, signing in and out, password, sessions and API tokens.
import {
  ApiTokenSchema,
  Closed,
  CreateApiTokenRequestSchema,
  CreatedApiTokenSchema,
  EndedMakerListSchema,
  EndedSessionsSchema,
  EndQuerySchema,
  ExchangeRequestSchema,
  Id,
  limits,
  MadeQuerySchema,
  MadeSchema,
  MeSchema,
  Page,
  PasswordRequestSchema,
  pageQuery,
  SessionListSchema,
  SignInRequestSchema,
} from '@opsconductor/protocol';
import type { Context } from 'hono';
import { getCookie } from 'hono/cookie';
import { createApiToken, listApiTokensOf, revokeApiToken } from '../../../auth/api-tokens.ts';
import type { IdentityDeps } from '../../../auth/identity-deps.ts';
import { needsCurrentPassword, setPassword } from '../../../auth/passwords/set-password.ts';
import { describeMe } from '../../../auth/sign-in/describe-me.ts';
import { endOtherSessions, endSession, listSessionsOf } from '../../../auth/sign-in/sessions.ts';
import { type SignInOrigin, signInByCode, signInByPassword, signOut } from '../../../auth/sign-in/sign-in.ts';
import { callerOf } from '../../../caller.ts';
import { AppError } from '../../../errors.ts';
import { endWithMade, listEndedMakers, listMade } from '../../../people/end-with-made.ts';
import { findUserById } from '../../../store/people/users.ts';
import { type RouteSpec, route } from '../../route.ts';
import { clearSessionCookie, type SessionCookie, setSessionCookie } from '../../session-cookie.ts';
import { answerEnded, listedEnded, listedMade, withMade } from './ended-with-made.ts';

export interface IdentityRouteDeps extends IdentityDeps {
  cookie: SessionCookie;
}

const tag = 'identity';
const params = Closed({ id: Id });
/** Enough for the longest name and password in JSON, and no more, because anyone may send these requests. */
const maxSignInBytes = 16 * 1024;

export function identityRoutes(deps: IdentityRouteDeps): RouteSpec[] {
  return [
    ...signInRoutes(deps),
    ...ownAccountRoutes(deps),
    ...ownSessionRoutes(deps),
    ...ownTokenRoutes(deps),
    ...ownMadeRoutes(deps),
  ];
}

function signInRoutes(deps: IdentityRouteDeps): RouteSpec[] {
  return [
    route({
      method: 'POST',
      path: '/api/v1/sign-in/exchange',
      permission: 'public',
      summary: 'Sign in with a one-time code',
      description:
        'Uses up the code and sets the session cookie. Ends the session that the browser had, if any.',
      tag,
      body: ExchangeRequestSchema,
      maxBodyBytes: maxSignInBytes,
      success: { status: 200, schema: MeSchema },
      async handle(request) {
        const { me, sessionToken } = await signInByCode(deps, request.body.code, originOf(deps, request));
        setSessionCookie(request.context, deps.cookie, sessionToken);
        return me;
      },
    }),
    route({
      method: 'POST',
      path: '/api/v1/sign-in',
      permission: 'public',
      summary: 'Sign in with name and password',
      description:
        'Sets the session cookie. Ends the session that the browser had, if any. Ten wrong passwords lock the name for the address that they came from.',
      tag,
      body: SignInRequestSchema,
      maxBodyBytes: maxSignInBytes,
      success: { status: 200, schema: MeSchema },
      async handle(request) {
        const { me, sessionToken } = await signInByPassword(deps, request.body, originOf(deps, request));
        setSessionCookie(request.context, deps.cookie, sessionToken);
        return me;
      },
    }),
    route({
      method: 'POST',
      path: '/api/v1/sign-out',
      permission: 'self',
      summary: 'End this session',
      description: 'With an API token, nothing is ended: delete the token instead.',
      tag,
      success: { status: 204 },
      async handle(request) {
        await signOut(deps, request.principal, request);
        clearSessionCookie(request.context, deps.cookie);
      },
    }),
  ];
}

function ownAccountRoutes(deps: IdentityRouteDeps): RouteSpec[] {
  return [
    route({
      method: 'GET',
      path: '/api/v1/me',
      permission: 'self',
      summary: 'Who is signed in, what they may do and where',
      tag,
      success: { status: 200, schema: MeSchema },
      async handle(request) {
        const user = await findUserById(deps.sql, request.principal.userId);
        if (user === undefined) throw new AppError('unauthenticated', 'Sign in again.');
        const { via, authority } = request.principal;
        const needed = await needsCurrentPassword(deps, request.principal, user);
        return describeMe(user, { via, authority, needsCurrentPassword: needed });
      },
    }),
    route({
      method: 'PUT',
      path: '/api/v1/me/password',
      permission: 'self',
      summary: 'Set your password',
      description:
        'Only in a session. Needs the current password if there is one, unless the session was opened with a one-time code within the last 30 minutes. Ends your other sessions; API tokens stay valid.',
      tag,
      body: PasswordRequestSchema,
      success: { status: 204 },
      async handle(request) {
        await setPassword(deps, request.principal, request.body, request);
      },
    }),
  ];
}

function ownSessionRoutes(deps: IdentityRouteDeps): RouteSpec[] {
  return [
    route({
      method: 'GET',
      path: '/api/v1/me/sessions',
      permission: 'self',
      summary: 'List where you are signed in, the session used last first',
      tag,
      success: { status: 200, schema: SessionListSchema },
      handle: ({ principal }) => listSessionsOf(deps, principal, principal.userId),
    }),
    route({
      method: 'DELETE',
      path: '/api/v1/me/sessions',
      permission: 'self',
      summary: 'End all your sessions except the one that asks',
      description: `${withMade} \`made\` then tells of these.`,
      tag,
      query: EndQuerySchema,
      success: { status: 200, schema: EndedSessionsSchema },
      handle(request) {
        const { userId } = request.principal;
        if (request.query.made === true)
          return endWithMade(deps, callerOf(request), { userId, root: 'sessions' });
        return endOtherSessions(deps, callerOf(request), { userId });
      },
    }),
    route({
      method: 'DELETE',
      path: '/api/v1/me/sessions/:id',
      permission: 'self',
      summary: 'End one of your sessions',
      description: `${withMade} The answer then tells of these, also if the session has ended already.`,
      tag,
      params,
      query: EndQuerySchema,
      success: { status: 204, others: [{ status: 200, schema: MadeSchema }] },
      handle(request) {
        const { userId } = request.principal;
        if (request.query.made === true) {
          const root = { kind: 'session', id: request.params.id } as const;
          return answerEnded(request, endWithMade(deps, callerOf(request), { userId, root }));
        }
        return endSession(deps, request.params.id, callerOf(request), { userId });
      },
    }),
  ];
}

function ownMadeRoutes(deps: IdentityRouteDeps): RouteSpec[] {
  return [
    route({
      method: 'GET',
      path: '/api/v1/me/ended-makers',
      permission: 'self',
      summary:
        'List your sessions and API tokens that have ended, though something made with them still works',
      description: listedEnded,
      tag,
      success: { status: 200, schema: EndedMakerListSchema },
      handle: (request) => listEndedMakers(deps, request.principal.userId),
    }),
    route({
      method: 'GET',
      path: '/api/v1/me/made',
      permission: 'self',
      summary: 'List what was made with one of your API tokens or sessions',
      description: listedMade,
      tag,
      query: MadeQuerySchema,
      success: { status: 200, schema: MadeSchema },
      errors: ['not_found'],
      handle: (request) => listMade(deps, request.principal.userId, request.query, callerOf(request)),
    }),
  ];
}

function ownTokenRoutes(deps: IdentityRouteDeps): RouteSpec[] {
  return [
    route({
      method: 'GET',
      path: '/api/v1/tokens',
      permission: 'self',
      summary: 'List your API tokens, newest first',
      tag,
      query: Closed(pageQuery),
      success: { status: 200, schema: Page(ApiTokenSchema) },
      async handle(request) {
        const { cursor, limit = limits.defaultPageItems } = request.query;
        const page = cursor === undefined ? { limit } : { limit, cursor };
        return listApiTokensOf(deps, request.principal.userId, page);
      },
    }),
    route({
      method: 'POST',
      path: '/api/v1/tokens',
      permission: 'self',
      summary: 'Create an API token',
      description:
        'The token is shown once. `permissions` and `scopes` restrict it to less than its user may do. If it is created with an API token, it expires with that one at the latest.',
      tag,
      body: CreateApiTokenRequestSchema,
      success: { status: 201, schema: CreatedApiTokenSchema },
      handle: (request) => createApiToken(deps, request.body, callerOf(request)),
    }),
    route({
      method: 'DELETE',
      path: '/api/v1/tokens/:id',
      permission: 'self',
      summary: 'Revoke one of your API tokens',
      description: `${withMade} The answer then tells of these, also if the token has ended already.`,
      tag,
      params,
      query: EndQuerySchema,
      success: { status: 204, others: [{ status: 200, schema: MadeSchema }] },
      handle(request) {
        const { principal, params, query } = request;
        if (query.made === true) {
          const root = { kind: 'api_token', id: params.id } as const;
          return answerEnded(
            request,
            endWithMade(deps, callerOf(request), { userId: principal.userId, root }),
          );
        }
        return revokeApiToken(deps, params.id, callerOf(request));
      },
    }),
  ];
}

function originOf(
  deps: IdentityRouteDeps,
  request: { context: Context; address: string; requestId: string },
): SignInOrigin {
  const { context, address, requestId } = request;
  const oldSessionToken = getCookie(context, deps.cookie.name);
  const userAgent = context.req.header('user-agent') ?? '';
  return { address, requestId, userAgent, ...(oldSessionToken === undefined ? {} : { oldSessionToken }) };
}
