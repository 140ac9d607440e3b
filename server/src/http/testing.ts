// The HTTP side on a real database, for tests: given routes, a clock to set, signed-in callers by role.
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Role } from '@opsconductor/protocol';
import { refusalRecorder } from '../audit/record-refusal.ts';
import { Authenticator } from '../auth/authenticator.ts';
import { hashSecretToken, makeSecretToken } from '../auth/secret-token.ts';
import { createLog } from '../log.ts';
import type { Sql } from '../store/database/connection.ts';
import { borrowDatabase, type TestDatabase } from '../store/database/testing.ts';
import { insertApiToken } from '../store/people/api-tokens.ts';
import { insertUser } from '../store/people/users.ts';
import { type AppDeps, createApp } from './app.ts';
import { RequestLimits } from './request-limits.ts';
import type { RouteSpec } from './route.ts';

export const testInstallationId = '6f1e2b3c-0000-4000-8000-000000000000';

export interface TestClock {
  now: () => Date;
  advance(ms: number): void;
}

export function testClock(start = new Date()): TestClock {
  let ms = start.getTime();
  return {
    now: () => new Date(ms),
    advance(by) {
      ms += by;
    },
  };
}

export interface TestApp {
  sql: Sql;
  clock: TestClock;
  authenticator: Authenticator;
  /** Logged lines. */
  logged: string[];
  /** Sends a request; an object as `json` becomes the body, `token` the bearer token. */
  request(method: string, path: string, options?: TestRequest): Promise<Response>;
  /** Creates a user with these roles, and an API token of theirs. */
  user(name: string, roles: readonly Role[]): Promise<{ id: number; token: string }>;
  close(): Promise<void>;
}

export interface TestRequest {
  json?: unknown;
  body?: string | ReadableStream;
  token?: string;
  headers?: Record<string, string>;
}

export async function setupApp(
  routesOf: (parts: { sql: Sql; clock: TestClock; authenticator: Authenticator }) => readonly RouteSpec[],
  { database, ...options }: Partial<AppDeps> & { database?: Pick<TestDatabase, 'sql' | 'close'> } = {},
): Promise<TestApp> {
  const { sql, close } = database ?? (await borrowDatabase());
  const clock = testClock();
  const authenticator = new Authenticator({ sql, now: clock.now, sessionIdleMs: 12 * 3_600_000 });
  const logged: string[] = [];
  const app = createApp({
    routes: routesOf({ sql, clock, authenticator }),
    authenticator,
    access: { hosts: [], origins: [], https: false, behindTlsProxy: false },
    cookieName: 'opsc_session_test',
    limits: new RequestLimits(clock.now),
    onForbidden: refusalRecorder({ sql, now: clock.now }),
    checkReplies: true,
    log: createLog({ level: 'debug', plain: false, destination: { write: (line) => logged.push(line) } }),
    probes: { notReady: async () => [], caPem: undefined, agentBundle: async () => '/nonexistent' },
    console: { answer: () => undefined },
    ...options,
  });
  return {
    sql,
    clock,
    authenticator,
    logged,
    request: async (method, path, request = {}) => app.request(path, requestInit(method, request)),
    async user(name, roles) {
      const token = makeSecretToken('oct_');
      const id = await insertUser(sql, name, roles);
      await insertApiToken(sql, {
        userId: id,
        name: 'test',
        prefix: token.slice(0, 10),
        tokenHash: hashSecretToken(token),
        createdAt: clock.now(),
        expiresAt: null,
      });
      return { id, token };
    },
    close,
  };
}

function requestInit(method: string, request: TestRequest): RequestInit {
  const body = request.json === undefined ? request.body : JSON.stringify(request.json);
  return {
    method,
    ...(body === undefined ? {} : { body }),
    ...(body instanceof ReadableStream ? { duplex: 'half' } : {}),
    headers: {
      ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
      ...(request.token === undefined ? {} : { Authorization: `Bearer ${request.token}` }),
      ...request.headers,
    },
  };
}

/**
 * Calls every `…Routes` function of `routes/` and this folder. They get a dummy as dependencies, which only handlers
 * use, and handlers don't run here.
 */
export async function wholeTable(): Promise<RouteSpec[]> {
  const anything: unknown = new Proxy(() => anything, { get: () => anything });
  const names = await readdir(import.meta.dirname, { recursive: true });
  const modules = names.filter(
    (name) =>
      /^(routes\/([a-z-]+\/)?)?[a-z-]+\.ts$/.test(name) &&
      !['route-table.ts', 'all-routes.ts'].includes(name),
  );
  const tables: RouteSpec[] = [];
  for (const name of modules) {
    const exported = Object.entries(
      (await import(join(import.meta.dirname, name))) as Record<string, unknown>,
    );
    for (const [key, value] of exported) {
      if (key.endsWith('Routes')) tables.push(...(value as (deps: unknown) => RouteSpec[])(anything));
    }
  }
  return tables;
}
