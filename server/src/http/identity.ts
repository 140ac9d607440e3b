// Who am I, signing in and out, one's password and API tokens.
import {
  ApiTokenSchema,
  Closed,
  CreateApiTokenRequestSchema,
  CreatedApiTokenSchema,
  ExchangeRequestSchema,
  Id,
  limits,
  MeSchema,
  Page,
  PasswordRequestSchema,
  pageQuery,
  SignInRequestSchema,
} from '@opsconductor/protocol';
import { createApiToken, listOwnApiTokens, revokeApiToken } from '../auth/api-tokens.ts';
import type { IdentityDeps } from '../auth/identity-deps.ts';
import { setPassword } from '../auth/set-password.ts';
import { describeMe, signInByCode, signInByPassword, signOut } from '../auth/sign-in.ts';
import { AppError } from '../errors.ts';
import { findUserById } from '../store/users.ts';
import { type RouteSpec, route } from './route.ts';
import { clearSessionCookie, type SessionCookie, setSessionCookie } from './session-cookie.ts';

export interface IdentityRouteDeps extends IdentityDeps {
  cookie: SessionCookie;
}

export function identityRoutes(deps: IdentityRouteDeps): RouteSpec[] {
  return [...signInRoutes(deps), ...ownAccountRoutes(deps), ...apiTokenRoutes(deps)];
}

function signInRoutes(deps: IdentityRouteDeps): RouteSpec[] {
  return [
    route({
      method: 'POST',
      path: '/api/v1/sign-in/exchange',
      permission: 'public',
      summary: 'Sign in with a one-time code',
      description: 'Uses the code up and sets the session cookie.',
      tag: 'identity',
      body: ExchangeRequestSchema,
      success: { status: 200, schema: MeSchema },
      async handle(request) {
        const { me, sessionToken } = await signInByCode(deps, request.body.code, request);
        setSessionCookie(request.context, deps.cookie, sessionToken);
        return me;
      },
    }),
    route({
      method: 'POST',
      path: '/api/v1/sign-in',
      permission: 'public',
      summary: 'Sign in with name and password',
      description: 'Sets the session cookie.',
      tag: 'identity',
      body: SignInRequestSchema,
      success: { status: 200, schema: MeSchema },
      async handle(request) {
        const { me, sessionToken } = await signInByPassword(deps, request.body, request);
        setSessionCookie(request.context, deps.cookie, sessionToken);
        return me;
      },
    }),
    route({
      method: 'POST',
      path: '/api/v1/sign-out',
      permission: 'self',
      summary: 'End this session',
      description: 'With an API token nothing ends: delete the token instead.',
      tag: 'identity',
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
      summary: 'Who is signed in, and what they may do',
      tag: 'identity',
      success: { status: 200, schema: MeSchema },
      async handle(request) {
        const user = await findUserById(deps.sql, request.principal.userId);
        if (user === undefined) throw new AppError('unauthenticated', 'Sign in again.');
        return describeMe(user, request.principal.via, request.principal.authority);
      },
    }),
    route({
      method: 'PUT',
      path: '/api/v1/me/password',
      permission: 'self',
      summary: 'Set one’s password',
      description: 'In a session only. Ends one’s other sessions; API tokens stay.',
      tag: 'identity',
      body: PasswordRequestSchema,
      success: { status: 204 },
      async handle(request) {
        await setPassword(deps, request.principal, request.body, request);
      },
    }),
  ];
}

function apiTokenRoutes(deps: IdentityRouteDeps): RouteSpec[] {
  return [
    route({
      method: 'GET',
      path: '/api/v1/tokens',
      permission: 'self',
      summary: 'One’s API tokens, newest first',
      tag: 'identity',
      query: Closed(pageQuery),
      success: { status: 200, schema: Page(ApiTokenSchema) },
      async handle(request) {
        const { cursor, limit = limits.defaultPageItems } = request.query;
        const page = cursor === undefined ? { limit } : { limit, cursor };
        return listOwnApiTokens(deps, request.principal, page);
      },
    }),
    route({
      method: 'POST',
      path: '/api/v1/tokens',
      permission: 'self',
      summary: 'Make an API token',
      description: 'The token is shown once. Made with an API token it expires with that one at the latest.',
      tag: 'identity',
      body: CreateApiTokenRequestSchema,
      success: { status: 201, schema: CreatedApiTokenSchema },
      async handle(request) {
        const { name, expiresInDays = 90 } = request.body;
        return createApiToken(deps, request.principal, { name, expiresInDays }, request);
      },
    }),
    route({
      method: 'DELETE',
      path: '/api/v1/tokens/:id',
      permission: 'self',
      summary: 'Revoke one of one’s API tokens',
      tag: 'identity',
      params: Closed({ id: Id }),
      success: { status: 204 },
      async handle(request) {
        await revokeApiToken(deps, request.principal, request.params.id, request);
      },
    }),
  ];
}
