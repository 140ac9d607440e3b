// The HTTP side of the server, built from one table of routes. Apart from that table, only the probes, the console and
// the API documentation are reachable, and those are public.
import { randomBytes } from 'node:crypto';
import { type Context, Hono } from 'hono';
import { AppError } from '../errors.ts';
import type { Log } from '../log.ts';
import type { AnsweredRequest } from '../metrics/server-metrics.ts';
import { checkAnswer } from './answers/check-answer.ts';
import { errorReply } from './answers/error-reply.ts';
import { RefusedRequest } from './answers/refused-request.ts';
import { setSecurityHeaders } from './answers/security-headers.ts';
import { addressOf, checkHost } from './client.ts';
import { apiDocumentation } from './description/api-documentation.ts';
import { handleRoute, type RouteDeps } from './handle-route.ts';
import type { RouteSpec } from './route.ts';
import { checkRoutes, methodsByPath, orderRoutes } from './route-table.ts';
import type { Console } from './routes/console.ts';
import { type ProbeDeps, probeAnswers } from './routes/probes.ts';

export interface AppDeps extends RouteDeps {
  routes: readonly RouteSpec[];
  log: Log;
  probes: ProbeDeps;
  console: Console;
  /** Told of each request when its answer begins. */
  onAnswered?(answered: AnsweredRequest): void;
  /** Whether an answer that differs from the description of its route becomes an error; for tests. */
  checkReplies: boolean;
}

type AppEnv = { Variables: { requestId: string; route?: RouteSpec } };

/** @throws AssertionError if the table contains a mistake. */
export function createApp(deps: AppDeps): Hono<AppEnv> {
  checkRoutes(deps.routes);
  const routes = orderRoutes(deps.routes);
  const app = new Hono<AppEnv>();
  app.use('*', async (context, next) => {
    const startedMs = performance.now();
    const requestId = randomBytes(9).toString('base64url');
    context.set('requestId', requestId);
    await next();
    // Nobody will read it. A stream that is neither read nor cancelled would follow its run until the server stops.
    if (context.req.method === 'HEAD') await context.res.body?.cancel();
    const elapsedMs = performance.now() - startedMs;
    logRequest(deps, context, requestId, elapsedMs);
    const { method, path: route } = context.get('route') ?? { method: '', path: undefined };
    deps.onAnswered?.({ method, route, status: context.res.status, seconds: elapsedMs / 1_000 });
  });
  app.use('*', async (context, next) => {
    checkHost(context, deps.access);
    await next();
  });
  app.onError(async (error, context) => {
    const requestId = context.get('requestId');
    const response = errorReply(error, requestId, deps.log);
    return finish(deps, context, await checked(deps, context.get('route'), response, requestId), requestId);
  });
  for (const route of routes) {
    app.on(route.method, route.path, async (context) => {
      const requestId = context.get('requestId');
      context.set('route', route);
      const response = await handleRoute(deps, route, context, requestId);
      return finish(deps, context, await checked(deps, route, response, requestId), requestId);
    });
  }
  for (const [path, methods] of methodsByPath(routes)) {
    app.all(path, () => {
      throw new RefusedRequest(405, 'invalid', `Only ${methods.join(', ')} can be used here.`, {
        Allow: methods.join(', '),
      });
    });
  }
  const open = [...probeAnswers(deps.probes), ...apiDocumentation(routes)];
  for (const [path, answer] of open) {
    app.get(path, async (context) =>
      finish(deps, context, await answer(context.req.raw), context.get('requestId')),
    );
  }
  app.notFound(async (context) => {
    const requestId = context.get('requestId');
    const page = isApi(context) ? undefined : await deps.console.answer(context.req.raw);
    const hint = /.\/$/.test(context.req.path) ? ' Leave out the slash at the end.' : '';
    const nothing = () => new AppError('not_found', `There is no such path on this server.${hint}`);
    return finish(deps, context, page ?? errorReply(nothing(), requestId, deps.log), requestId);
  });
  return app;
}

function finish(deps: AppDeps, context: Context, response: Response, requestId: string): Response {
  response.headers.set('X-Request-Id', requestId);
  setSecurityHeaders(response.headers, {
    https: deps.access.https,
    isApi: isApi(context),
  });
  return response;
}

/** Returns the answer, or in its place an error if it is not as described. */
async function checked(
  deps: AppDeps,
  route: RouteSpec | undefined,
  response: Response,
  requestId: string,
): Promise<Response> {
  if (!deps.checkReplies || route === undefined) return response;
  try {
    await checkAnswer(route, response);
    return response;
  } catch (error) {
    return errorReply(error, requestId, deps.log);
  }
}

function isApi(context: Context): boolean {
  return context.req.path === '/api' || context.req.path.startsWith('/api/');
}

function logRequest(deps: AppDeps, context: Context, requestId: string, elapsedMs: number): void {
  const { status } = context.res;
  const level = status >= 500 ? 'warn' : context.req.method === 'GET' || status === 404 ? 'debug' : 'info';
  deps.log[level](
    {
      requestId,
      method: context.req.method,
      path: context.req.path,
      status,
      elapsedMs: Math.round(elapsedMs * 10) / 10,
      address: addressOf(context, deps.access),
    },
    'request',
  );
}
