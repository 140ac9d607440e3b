// Signing in and editing people over HTTP, for tests: browsers with a cookie and their own address.

import { Authenticator } from '../../../auth/authenticator.ts';
import { defaultIdentitySettings, type IdentitySettings } from '../../../auth/identity-deps.ts';
import { SignInLimits } from '../../../auth/limits/sign-in-limits.ts';
import { createSignInCode } from '../../../auth/sign-in/sign-in-codes.ts';
import type { Sql } from '../../../store/database/connection.ts';
import { borrowDatabase } from '../../../store/database/testing.ts';
import { sessionCookie } from '../../session-cookie.ts';
import { setupApp, type TestApp, type TestRequest, testClock, testInstallationId } from '../../testing.ts';
import { grantRoutes } from './grants.ts';
import { identityRoutes } from './identity.ts';
import { userGroupRoutes } from './user-groups.ts';
import { userRoutes } from './users.ts';

const cookie = sessionCookie({ installationId: testInstallationId, https: false });

export interface TestPeople extends TestApp {
  settings: IdentitySettings;
  signInLimits: SignInLimits;
  /** Returns a browser at that address. */
  browser(address?: string): TestBrowser;
  /** Returns the JSON of the reply; fails the test if it has another status than `status`. */
  call<T>(method: string, path: string, token: string, json?: unknown, status?: number): Promise<T>;
  /** Actions of the audit log, oldest first. */
  audited(): Promise<{ action: string; actorName: string; detail: Record<string, unknown> }[]>;
}

/**
 * Sets up the routes of identity and people. Addresses are taken from X-Forwarded-For, so that tests can choose them.
 */
export async function setupPeople(settings = defaultIdentitySettings): Promise<TestPeople> {
  const database = await borrowDatabase();
  const clock = testClock();
  const { sql } = database;
  const authenticator = new Authenticator({
    sql,
    now: clock.now,
    sessionIdleMs: settings.session.idleMs,
    sessionAbsoluteMs: settings.session.absoluteMs,
  });
  const deps = {
    sql,
    now: clock.now,
    authenticator,
    signInLimits: new SignInLimits(clock.now),
    settings,
    cookie,
    publicUrl: 'https://ops.example.com',
  };
  const app = await setupApp(
    () => [...identityRoutes(deps), ...userRoutes(deps), ...userGroupRoutes(deps), ...grantRoutes(deps)],
    {
      database,
      authenticator,
      cookieName: cookie.name,
      access: { hosts: [], origins: [], https: false, behindTlsProxy: true },
    },
  );
  const t: TestPeople = {
    ...app,
    clock,
    authenticator,
    settings,
    signInLimits: deps.signInLimits,
    browser: (address = '192.0.2.1') => new TestBrowser(t, address),
    async call(method, path, token, json, status = method === 'POST' ? 201 : 200) {
      const reply = await t.request(method, `/api/v1/${path}`, {
        token,
        ...(json === undefined ? {} : { json }),
      });
      const text = await reply.text();
      if (reply.status !== status) throw new Error(`${method} ${path}: ${reply.status} ${text}`);
      return text === '' ? undefined : JSON.parse(text);
    },
    async audited() {
      const rows = await sql<{ action: string; actorName: string; detail: Record<string, unknown> }[]>`
        select action, actor_name, detail from audit_log order by id`;
      return rows.map((row) => ({ ...row }));
    },
  };
  return t;
}

class TestBrowser {
  readonly #t: TestPeople;
  readonly address: string;
  cookie = '';

  constructor(t: TestPeople, address: string) {
    this.#t = t;
    this.address = address;
  }

  async request(method: string, path: string, options: TestRequest = {}): Promise<Response> {
    const response = await this.#t.request(method, `/api/v1/${path}`, {
      ...options,
      headers: {
        ...(this.cookie === '' ? {} : { Cookie: this.cookie }),
        'Sec-Fetch-Site': 'same-origin',
        'X-Forwarded-For': this.address,
        ...options.headers,
      },
    });
    const set = response.headers.get('set-cookie');
    if (set !== null) this.cookie = set.split(';', 1)[0] ?? '';
    return response;
  }

  async status(method: string, path: string, json?: unknown): Promise<number> {
    return (await this.request(method, path, json === undefined ? {} : { json })).status;
  }

  /** Signs in with a newly created code. */
  async enter(name: string): Promise<this> {
    const { code } = await createSignInCode({ sql: this.#t.sql, now: this.#t.clock.now }, name);
    const status = await this.status('POST', 'sign-in/exchange', { code });
    if (status !== 200) throw new Error(`signing in by code: ${status}`);
    return this;
  }

  async signIn(name: string, password: string): Promise<Response> {
    return this.request('POST', 'sign-in', { json: { name, password } });
  }
}

/** Locks rows in a separate transaction. The function it returns makes a change there, then commits. */
export async function holdRows(sql: Sql, query: string): Promise<(change: string) => Promise<void>> {
  const connection = await sql.reserve();
  await connection.unsafe('begin');
  await connection.unsafe(query);
  return async (change) => {
    await connection.unsafe(change);
    await connection.unsafe('commit');
    connection.release();
  };
}

/** Resolves once this many transactions wait for a lock. */
export async function untilWaiting(sql: Sql, count: number): Promise<void> {
  for (;;) {
    const rows = await sql`
      select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`;
    if (rows.length >= count) return;
  }
}
