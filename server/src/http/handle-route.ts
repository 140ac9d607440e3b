// Takes one request through one route: who is calling, whether they may, whether the request is valid; then the
// handler.
import { type ErrorDetail, limits } from '@opsconductor/protocol';
import type { Context } from 'hono';
import { Type } from 'typebox';
import type { Authority } from '../auth/authority.ts';
import { MissingPermission, whoLacks } from '../auth/missing-permission.ts';
import { AppError } from '../errors.ts';
import { sqlState, violatedConstraint } from '../store/database/connection.ts';
import { schemaProblems } from '../validation/schema-problems.ts';
import { withUnstorableText } from '../validation/storable-text.ts';
import type { BodyShare } from './bodies/body-room.ts';
import { type RequestBody, readRequestBody, readRequestBytes, readRequestFile } from './bodies/read-body.ts';
import { type Access, addressOf, checkOrigin } from './client.ts';
import { presentedToken } from './presented-token.ts';
import type { RequestLimits } from './request-limits.ts';
import type { Principal, RouteRequest, RouteSpec } from './route.ts';
import { readText, refuseProblems, textProblems } from './validate.ts';

const nothing = Type.Object({}, { additionalProperties: false });
const foreignKeyViolation = '23503';
/** End of the names of constraints by which rows refer to a segment. */
const segmentReference = '_segment_id_fkey';
/** For this long, nobody is looked up again unless something has changed. A notice of another server may be lost. */
const unaskedMs = 5_000;

export interface Authenticates {
  /** Returns whether the session or token was valid when it was last looked up here, so that it is not a guess. */
  wasGood(via: Principal['via'], token: string): boolean;
  bySession(token: string, address: string): Promise<Principal | undefined>;
  byApiToken(token: string, address: string): Promise<Principal | undefined>;
  /** Returns when an API token that is not valid expired; undefined if that is not why. */
  expiryOf(token: string): Promise<Date | undefined>;
  /** How often anyone's session, token or rights have changed, as far as this server was told. */
  readonly changes: number;
  /** Returns the principal as it is now; undefined if its session or token has ended. */
  again(principal: Principal): Promise<Principal | undefined>;
}

export interface RouteDeps {
  authenticator: Authenticates;
  access: Access;
  cookieName: string;
  limits: RequestLimits;
  /** Called with every request that a signed-in caller was refused, for the audit log. */
  onForbidden(refusal: {
    principal: Principal;
    route: RouteSpec;
    address: string;
    requestId: string;
  }): Promise<void>;
}

/**
 * Admits a request, reads its body and answers it. Whoever asks is looked at again once the body is there.
 * @throws {AppError} what the caller is told
 */
export async function handleRoute(
  deps: RouteDeps,
  route: RouteSpec,
  context: Context,
  requestId: string,
): Promise<Response> {
  const address = addressOf(context, deps.access);
  const seen = { changes: deps.authenticator.changes, atMs: performance.now() };
  const admitted = await authorize(deps, route, context, { address, requestId });
  const release = holdPlace(deps, route, admitted);
  const room = deps.limits.shareOfBodies(admitted, address);
  try {
    const body = await readBody(route, context, room);
    const principal = await stillAuthorized(deps, route, admitted, { seen, address, requestId });
    return await located(body, () => carryOut(deps, route, context, { principal, address, requestId, body }));
  } finally {
    release?.();
    room.release();
  }
}

/** Takes a place among the bodies that are held in memory whole. Returns a function that gives it back. */
function holdPlace(
  deps: RouteDeps,
  { takesFile, takesBytes }: RouteSpec,
  caller: Principal | undefined,
): (() => void) | undefined {
  if (takesFile === true) return deps.limits.holdFile(caller);
  return takesBytes === true ? deps.limits.holdUpload(caller) : undefined;
}

interface Call {
  principal: Principal | undefined;
  address: string;
  requestId: string;
  body: RequestBody;
}

async function carryOut(
  deps: RouteDeps,
  route: RouteSpec,
  context: Context,
  { principal, address, requestId, body }: Call,
): Promise<Response> {
  const request = {
    ...readParts(route, context, body.value ?? {}),
    principal,
    requestId,
    address,
    context,
    locate: (details: readonly ErrorDetail[]) => body.places?.locate(details) ?? [...details],
    authorityNow: () => authorityNow(deps, route, principal),
  };
  const reply = await answer(deps, route, request as unknown as RouteRequest<never, never, never>);
  if (reply instanceof Response) {
    const isDownload = principal !== undefined && route.method === 'GET' && !isLive(reply);
    return isDownload ? whileAllowed(reply, deps.authenticator, request.authorityNow) : reply;
  }
  const { status } = route.success;
  if (status === 204) return context.body(null, 204);
  const text = JSON.stringify(reply);
  return context.body(text, status, { 'Content-Type': 'application/json; charset=utf-8' });
}

/** Live streams look after the rights of their readers themselves: what they show depends on them. */
function isLive({ headers }: Response): boolean {
  return headers.get('content-type')?.startsWith('text/event-stream') === true;
}

/**
 * Passes a download on for as long as its reader may ask for it. Whoever takes it slowly would otherwise have hours
 * left, after their session or token was ended.
 */
function whileAllowed(
  reply: Response,
  authenticator: Pick<Authenticates, 'changes'>,
  authorityNow: () => Promise<Authority | undefined>,
): Response {
  if (reply.body === null) return reply;
  const reader = reply.body.getReader();
  let seen = { changes: authenticator.changes, atMs: performance.now() };
  const isStillAllowed = async () => {
    const { changes } = authenticator;
    if (changes === seen.changes && performance.now() - seen.atMs < unaskedMs) return true;
    seen = { changes, atMs: performance.now() };
    return (await authorityNow()) !== undefined;
  };
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        if (!(await isStillAllowed())) {
          await reader.cancel();
          throw new Error('the right to read this has ended');
        }
        const { value, done } = await reader.read();
        if (done) controller.close();
        else controller.enqueue(value);
      },
      cancel: (reason) => reader.cancel(reason),
    },
    { highWaterMark: 0 },
  );
  return new Response(body, reply);
}

/** Adds to the errors of a YAML body where in it they are. */
async function located<T>({ places }: RequestBody, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    if (places === undefined || !(error instanceof AppError) || error.code !== 'invalid') throw error;
    const details = error.details.flatMap((detail) =>
      isOfAddress(detail) ? [detail] : places.locate([detail]),
    );
    throw new AppError(error.code, error.message, { cause: error, details });
  }
}

/** An error of the query or a header; a line number would wrongly point into the body. */
function isOfAddress({ path }: ErrorDetail): boolean {
  return path.startsWith('query.') || path === 'If-Match';
}

/**
 * Returns the handler's reply. If the handler finds that the caller lacks a permission, that is recorded as a refusal.
 */
async function answer(
  deps: RouteDeps,
  route: RouteSpec,
  request: RouteRequest<never, never, never>,
): Promise<unknown> {
  try {
    return await route.handle(request);
  } catch (error) {
    if (error instanceof MissingPermission) {
      const { principal, address, requestId } = request;
      const refused = { ...route, permission: error.permission };
      await deps.onForbidden({ principal, route: refused, address, requestId });
    }
    if (sqlState(error) === foreignKeyViolation && (await isGone(deps, request.principal)))
      throw new AppError('unauthenticated', 'This account has been deleted.', { cause: error });
    if (violatedConstraint(error)?.endsWith(segmentReference) === true)
      throw new AppError('conflict', 'The segment was deleted meanwhile.', { cause: error });
    throw error;
  }
}

/** Returns whether the caller was deleted since the request began, so that nothing can be recorded as theirs. */
async function isGone({ authenticator }: RouteDeps, principal: Principal | undefined): Promise<boolean> {
  return principal !== undefined && (await authenticator.again(principal)) === undefined;
}

/**
 * Looks the caller up again, for an answer that goes on. Returns undefined once the session, token or right has ended.
 */
async function authorityNow(
  deps: RouteDeps,
  route: RouteSpec,
  principal: Principal | undefined,
): Promise<Authority | undefined> {
  const now = principal && (await deps.authenticator.again(principal));
  return now !== undefined && mayCall(route, now.authority) ? now.authority : undefined;
}

/**
 * Returns whether the caller has the route's permission: somewhere, if the handler checks on what; otherwise
 * everywhere.
 */
function mayCall(route: RouteSpec, authority: Authority): boolean {
  if (route.permission === 'public') return true;
  return route.scoped === true
    ? authority.holdsSomewhere(route.permission)
    : authority.holdsEverywhere(route.permission);
}

/** Returns undefined only for public routes. */
async function authorize(
  deps: RouteDeps,
  route: RouteSpec,
  context: Context,
  origin: { address: string; requestId: string },
): Promise<Principal | undefined> {
  const { address } = origin;
  const isUnsafe = route.method !== 'GET';
  if (route.permission === 'public') {
    deps.limits.countStranger(address);
    if (isUnsafe) checkOrigin(context, deps.access, false);
    return undefined;
  }
  const principal = await authenticate(deps, context, address);
  if (principal === undefined) throw await notAuthenticated(deps, context);
  await deps.limits.countCaller(principal);
  if (isUnsafe && principal.via === 'session') checkOrigin(context, deps.access, true);
  await requirePermission(deps, route, principal, origin);
  return principal;
}

async function requirePermission(
  deps: RouteDeps,
  route: RouteSpec,
  principal: Principal,
  origin: { address: string; requestId: string },
): Promise<void> {
  if (mayCall(route, principal.authority)) return;
  await deps.onForbidden({ principal, route, ...origin });
  const everywhere =
    route.permission !== 'public' && principal.authority.holdsSomewhere(route.permission)
      ? ' everywhere'
      : '';
  throw new AppError(
    'forbidden',
    route.permission === 'self'
      ? 'An API token that is limited to some permissions or places can’t be used for the account of its user.'
      : `This needs the permission ${route.permission}${everywhere}, ${whoLacks(principal)}.`,
  );
}

/**
 * Returns the caller as they are once the body has arrived. A body may take a minute. If the rights that the caller had
 * at its beginning still counted then, anyone could keep rights that are being taken away, by a request that is not
 * finished until afterwards.
 * @throws AppError `unauthenticated`, `forbidden`
 */
async function stillAuthorized(
  deps: RouteDeps,
  route: RouteSpec,
  admitted: Principal | undefined,
  { seen, ...origin }: { seen: { changes: number; atMs: number }; address: string; requestId: string },
): Promise<Principal | undefined> {
  const isUnchanged = deps.authenticator.changes === seen.changes;
  if (admitted === undefined || (isUnchanged && performance.now() - seen.atMs < unaskedMs)) return admitted;
  const principal = await deps.authenticator.again(admitted);
  if (principal === undefined)
    throw new AppError(
      'unauthenticated',
      'Your session or API token ended while the request was being sent.',
    );
  await requirePermission(deps, route, principal, origin);
  return principal;
}

/**
 * Returns undefined, and counts the request as one of an unknown caller, if it presents nothing valid. A bearer token
 * that isn't valid is refused, whatever cookie comes with it.
 */
async function authenticate(
  deps: RouteDeps,
  context: Context,
  address: string,
): Promise<Principal | undefined> {
  const { authenticator, cookieName, limits } = deps;
  const presented = presentedBy(context, cookieName);
  // Counted before it is looked up, so that a flood of wrong tokens, even concurrent ones, does not cost a query each.
  const isCounted = presented === undefined || !authenticator.wasGood(presented.via, presented.token);
  if (isCounted) limits.countStranger(address);
  if (presented === undefined) return undefined;
  const { via, token } = presented;
  const principal =
    via === 'session'
      ? await authenticator.bySession(token, address)
      : await authenticator.byApiToken(token, address);
  if (principal === undefined && !isCounted) limits.countStranger(address);
  if (principal !== undefined && isCounted) limits.uncountStranger(address);
  return principal;
}

function presentedBy(context: Context, cookieName: string) {
  const [authorization, cookie] = [context.req.header('authorization'), context.req.header('cookie')];
  return presentedToken({ authorization, cookie }, cookieName);
}

/** Whoever has an expired token may know so: it is the usual reason why a script that has long worked stops. */
async function notAuthenticated(
  { authenticator, cookieName }: RouteDeps,
  context: Context,
): Promise<AppError> {
  const presented = presentedBy(context, cookieName);
  const expiry = presented?.via === 'api_token' ? await authenticator.expiryOf(presented.token) : undefined;
  const message =
    expiry === undefined
      ? 'Sign in, or send a valid API token.'
      : `This API token expired at ${expiry.toISOString()}: make another one.`;
  return new AppError('unauthenticated', message);
}

/** Returns path, query and body with defaults filled in. Mistakes in any of them are reported together. */
function readParts(route: RouteSpec, context: Context, body: unknown) {
  const problems: ErrorDetail[] = [];
  const params = readText(route.params, context.req.param());
  problems.push(...withUnstorableText(textProblems(route.params ?? nothing, params), params));
  const query = readText(route.query, readQuery(context, problems));
  problems.push(...withUnstorableText(textProblems(route.query ?? nothing, query, 'query'), query, 'query'));
  if (route.method !== 'GET') problems.push(...unheededCondition(route, context));
  if (!checksItself(route) && route.method !== 'GET')
    problems.push(...withUnstorableText(schemaProblems(route.body ?? nothing, body), body));
  refuseProblems(problems);
  return { params, query, body };
}

/** A caller who names a version relies on it: a change that paid no heed to it could undo somebody else's. */
function unheededCondition(route: RouteSpec, context: Context): ErrorDetail[] {
  if (route.takesIfMatch === true || context.req.header('if-match') === undefined) return [];
  const body = route.body as { properties?: object } | undefined;
  const instead =
    body?.properties !== undefined && 'expected' in body.properties
      ? 'say in `expected` of the body what must still be so'
      : 'leave it out';
  return [{ path: 'If-Match', message: `Is not heeded here; ${instead}.`, allowed: 'no such header' }];
}

/** Returns whether the route's handler checks the body itself. */
function checksItself({ checksBody, takesFile, takesBytes }: RouteSpec): boolean {
  return checksBody === true || takesFile === true || takesBytes === true;
}

function readQuery(context: Context, problems: ErrorDetail[]): Record<string, string> {
  const once = Object.create(null) as Record<string, string>;
  for (const [name, values] of Object.entries(context.req.queries())) {
    if (values.length > 1)
      problems.push({ path: `query.${name}`, message: 'Is given more than once.', allowed: 'one value' });
    else once[name] = values[0] ?? '';
  }
  // Hono leaves out a value without a name.
  if (/^\?=|&=/.test(new URL(context.req.url).search))
    problems.push({ path: 'query', message: 'Has a value without a name.', allowed: 'name=value' });
  return once;
}

async function readBody(route: RouteSpec, context: Context, room: BodyShare): Promise<RequestBody> {
  if (route.method === 'GET') return { value: {} };
  const maxBytes = route.maxBodyBytes ?? limits.maxRequestBodyBytes;
  if (route.takesFile === true) return { value: await readRequestFile(context.req.raw, maxBytes) };
  if (route.takesBytes === true) return { value: await readRequestBytes(context.req.raw, maxBytes) };
  return readRequestBody(context.req.raw, { maxBytes, takesYaml: route.takesYaml === true, room });
}
