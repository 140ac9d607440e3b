import type { CreatedApiToken, ErrorBody, Me } from '@opsconductor/protocol';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { defaultIdentitySettings } from '../../../auth/identity-deps.ts';
import { SignInLimits } from '../../../auth/limits/sign-in-limits.ts';
import { hashCheaply } from '../../../auth/passwords/testing.ts';
import { createSignInCode } from '../../../auth/sign-in/sign-in-codes.ts';
import { insertUser } from '../../../store/people/users.ts';
import { sessionCookie } from '../../session-cookie.ts';
import { setupApp, type TestApp, type TestRequest, testInstallationId } from '../../testing.ts';
import { identityRoutes } from './identity.ts';

hashCheaply();

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
const dayMs = 24 * hourMs;
const cookie = sessionCookie({ installationId: testInstallationId, https: false });

let t: TestApp;
beforeEach(async () => {
  t = await setupApp(
    ({ sql, clock, authenticator }) =>
      identityRoutes({
        sql,
        authenticator,
        now: clock.now,
        cookie,
        signInLimits: new SignInLimits(clock.now),
        settings: defaultIdentitySettings,
      }),
    { cookieName: cookie.name },
  );
});
afterEach(() => t.close());

/** A browser that holds the session's cookie. */
class Browser {
  cookie = '';

  async request(method: string, path: string, options: TestRequest = {}): Promise<Response> {
    const response = await t.request(method, path, {
      ...options,
      headers: { Cookie: this.cookie, 'Sec-Fetch-Site': 'same-origin', ...options.headers },
    });
    const set = response.headers.get('set-cookie');
    if (set !== null) this.cookie = set.split(';', 1)[0] ?? '';
    return response;
  }

  async exchange(name: string): Promise<Response> {
    const { code } = await createSignInCode({ sql: t.sql, now: t.clock.now }, name);
    return this.request('POST', '/api/v1/sign-in/exchange', { json: { code } });
  }
}

async function signedIn(name: string): Promise<Browser> {
  await insertUser(t.sql, name, ['admin']);
  const browser = new Browser();
  expect((await browser.exchange(name)).status).toBe(200);
  return browser;
}

async function withPassword(name: string, password: string): Promise<Browser> {
  const browser = await signedIn(name);
  expect((await browser.request('PUT', '/api/v1/me/password', { json: { password } })).status).toBe(204);
  return browser;
}

async function audited(): Promise<string[]> {
  const rows = await t.sql<{ action: string }[]>`select action from audit_log order by id`;
  return rows.map((row) => row.action);
}

interface TokenPage {
  items: { id: number; name: string }[];
  nextCursor: string | null;
}

async function messageOf(response: Response): Promise<string> {
  return ((await response.json()) as ErrorBody).error.message;
}

describe('sign-in codes', () => {
  test('a code signs in once, and scripts and other sites can’t use the cookie', async () => {
    await insertUser(t.sql, 'ada', ['operator']);
    const { code } = await createSignInCode({ sql: t.sql, now: t.clock.now }, 'ada');
    const first = await t.request('POST', '/api/v1/sign-in/exchange', { json: { code } });
    expect(((await first.json()) as Me).permissions).toContain('run');
    expect(first.headers.get('set-cookie')).toMatch(
      /^opsc_session_6f1e2b3c0000=[\w-]{43}; Path=\/; HttpOnly; SameSite=Strict$/,
    );
    const second = await t.request('POST', '/api/v1/sign-in/exchange', { json: { code } });
    expect(second.status).toBe(401);
    expect(await messageOf(second)).toContain('does not work any more');
    expect(await audited()).toEqual(['sign_in_code.created', 'session.signed_in', 'session.sign_in_failed']);
  });

  test('of several simultaneous sign-ins with a code only one succeeds', async () => {
    await insertUser(t.sql, 'ada', ['operator']);
    const { code } = await createSignInCode({ sql: t.sql, now: t.clock.now }, 'ada');
    const replies = await Promise.all(
      Array.from({ length: 5 }, () => t.request('POST', '/api/v1/sign-in/exchange', { json: { code } })),
    );
    expect(replies.map((reply) => reply.status).sort()).toEqual([200, 401, 401, 401, 401]);
  });

  test('a code older than 30 minutes is refused', async () => {
    await insertUser(t.sql, 'ada', ['operator']);
    const { code } = await createSignInCode({ sql: t.sql, now: t.clock.now }, 'ada');
    t.clock.advance(30 * minuteMs);
    const reply = await t.request('POST', '/api/v1/sign-in/exchange', { json: { code } });
    expect(reply.status).toBe(401);
  });

  test('a code of a user who is no longer active is refused', async () => {
    await insertUser(t.sql, 'ada', ['operator']);
    const { code } = await createSignInCode({ sql: t.sql, now: t.clock.now }, 'ada');
    await t.sql`update users set is_active = false`;
    expect((await t.request('POST', '/api/v1/sign-in/exchange', { json: { code } })).status).toBe(401);
    await expect(createSignInCode({ sql: t.sql, now: t.clock.now }, 'ada')).rejects.toThrow('no active user');
  });

  test('neither codes nor session tokens are stored in clear', async () => {
    const browser = await signedIn('ada');
    const token = browser.cookie.split('=')[1] ?? '';
    const { code } = await createSignInCode({ sql: t.sql, now: t.clock.now }, 'ada');
    const rows = await t.sql`
      select (select json_agg(s) from sessions s)::text || (select json_agg(c) from sign_in_codes c)::text
             || (select json_agg(a) from audit_log a)::text as all_text`;
    const stored = JSON.stringify(rows);
    const hexOf = (secret: string) => Buffer.from(secret).toString('hex');
    for (const secret of [code, token, hexOf(code), hexOf(token)]) expect(stored).not.toContain(secret);
    expect(token).toHaveLength(43);
  });
});

describe('passwords', () => {
  test('name and password sign in; a wrong name and a wrong password get the same answer', async () => {
    await withPassword('ada', 'correct horse battery');
    const good = { name: 'ada', password: 'correct horse battery' };
    expect((await t.request('POST', '/api/v1/sign-in', { json: good })).status).toBe(200);
    const wrong = await t.request('POST', '/api/v1/sign-in', { json: { ...good, password: 'x' } });
    const unknown = await t.request('POST', '/api/v1/sign-in', { json: { ...good, name: 'eve' } });
    expect([wrong.status, unknown.status]).toEqual([401, 401]);
    expect(await messageOf(wrong)).toBe(await messageOf(unknown));
    const failed = await t.sql`
      select actor_kind, actor_name from audit_log where action = 'session.sign_in_failed' order by id`;
    expect(failed.map((row) => ({ ...row }))).toEqual([
      { actorKind: 'anonymous', actorName: 'ada' },
      // A name that nobody has may be a password in the wrong field, so it is not recorded.
      { actorKind: 'anonymous', actorName: 'unknown' },
    ]);
  });

  test('a user without a password can not sign in with one', async () => {
    await insertUser(t.sql, 'ada', ['admin']);
    const reply = await t.request('POST', '/api/v1/sign-in', { json: { name: 'ada', password: 'null' } });
    expect(reply.status).toBe(401);
  });

  test('after ten wrong passwords the name is locked, even for the right one, and unlocked again after a while', async () => {
    await withPassword('ada', 'correct horse battery');
    const attempt = (password: string) =>
      t.request('POST', '/api/v1/sign-in', { json: { name: 'ada', password } });
    for (let i = 0; i < 10; i++) expect((await attempt('wrong')).status).toBe(401);
    const locked = await attempt('correct horse battery');
    expect(locked.status).toBe(429);
    expect(Number(locked.headers.get('retry-after'))).toBeLessThanOrEqual(60);
    t.clock.advance(minuteMs);
    expect((await attempt('correct horse battery')).status).toBe(200);
  });

  test('an address that tries many names is slowed down, and another address is not', async () => {
    const from = (address: string, name: string) =>
      t.request('POST', '/api/v1/sign-in/exchange', {
        json: { code: name.padEnd(20, 'x') },
        headers: { 'X-Forwarded-For': address },
      });
    await t.close();
    t = await setupApp(
      ({ sql, clock, authenticator }) =>
        identityRoutes({
          sql,
          authenticator,
          now: clock.now,
          cookie,
          signInLimits: new SignInLimits(clock.now),
          settings: defaultIdentitySettings,
        }),
      { access: { hosts: [], origins: [], https: true, behindTlsProxy: true } },
    );
    for (let i = 0; i < 20; i++) expect((await from('6.6.6.6, 10.0.0.9', `code${i}`)).status).toBe(401);
    // What the client itself puts in front of the proxy's entry has no effect.
    expect((await from('7.7.7.7, 10.0.0.9', 'other')).status).toBe(429);
    expect((await from('10.0.0.8', 'other')).status).toBe(401);
  });

  test('changing the password needs the current one and ends the other sessions', async () => {
    const browser = await withPassword('ada', 'correct horse battery');
    // Soon after a one-time code, the current password isn't asked for.
    t.clock.advance(30 * minuteMs);
    const other = new Browser();
    await other.exchange('ada');
    expect((await other.request('GET', '/api/v1/me')).status).toBe(200);
    const change = (json: object) => browser.request('PUT', '/api/v1/me/password', { json });
    const password = 'another good password';
    expect((await change({ password })).status).toBe(400);
    expect((await change({ password, current: 'wrong' })).status).toBe(400);
    expect((await change({ password, current: 'correct horse battery' })).status).toBe(204);
    expect((await browser.request('GET', '/api/v1/me')).status).toBe(200);
    expect((await other.request('GET', '/api/v1/me')).status).toBe(401);
    const old = { name: 'ada', password: 'correct horse battery' };
    expect((await t.request('POST', '/api/v1/sign-in', { json: old })).status).toBe(401);
  });

  test('a short password is refused without repeating it', async () => {
    const browser = await signedIn('ada');
    const reply = await browser.request('PUT', '/api/v1/me/password', { json: { password: 'tooshort' } });
    expect(reply.status).toBe(400);
    expect(await reply.text()).not.toContain('tooshort');
  });

  test('an API token can not set a password', async () => {
    const { token } = await t.user('ada', ['admin']);
    const reply = await t.request('PUT', '/api/v1/me/password', {
      token,
      json: { password: 'correct horse battery' },
    });
    expect(reply.status).toBe(403);
  });
});

describe('sessions', () => {
  test('signing out ends the session at once', async () => {
    const browser = await signedIn('ada');
    expect((await browser.request('GET', '/api/v1/me')).status).toBe(200);
    const stolen = browser.cookie;
    expect((await browser.request('POST', '/api/v1/sign-out')).status).toBe(204);
    expect(browser.cookie).toBe(`${cookie.name}=`);
    expect((await t.request('GET', '/api/v1/me', { headers: { Cookie: stolen } })).status).toBe(401);
  });

  test('an unused session ends after 12 hours, a used one after 7 days', async () => {
    const idle = await signedIn('ada');
    const used = await signedIn('bea');
    for (let hours = 0; hours < 7 * 24 - 6; hours += 6) {
      t.clock.advance(6 * hourMs);
      expect((await used.request('GET', '/api/v1/me')).status).toBe(200);
    }
    expect((await idle.request('GET', '/api/v1/me')).status).toBe(401);
    t.clock.advance(6 * hourMs);
    expect((await used.request('GET', '/api/v1/me')).status).toBe(401);
  });

  test('a deactivated user is out within five seconds', async () => {
    const browser = await signedIn('ada');
    expect((await browser.request('GET', '/api/v1/me')).status).toBe(200);
    await t.sql`update users set is_active = false`;
    t.clock.advance(5_000);
    expect((await browser.request('GET', '/api/v1/me')).status).toBe(401);
  });

  test('the cookie of another installation on the same host is not taken', async () => {
    const browser = await signedIn('ada');
    const renamed = browser.cookie.replace(cookie.name, 'opsc_session_000000000000');
    expect((await t.request('GET', '/api/v1/me', { headers: { Cookie: renamed } })).status).toBe(401);
  });

  test('with https the cookie is bound to the host and to https', () => {
    const secure = sessionCookie({ installationId: testInstallationId, https: true });
    expect(secure).toEqual({ name: '__Host-opsc_session_6f1e2b3c0000', secure: true });
  });
});

describe('requests from other sites', () => {
  test('an unsafe request with a cookie must come from this origin', async () => {
    const browser = await signedIn('ada');
    const cases: [Record<string, string>, number][] = [
      [{ Origin: 'https://evil.example' }, 403],
      [{ Origin: 'null' }, 403],
      [{ Origin: 'https://localhost' }, 403],
      [{ Origin: 'http://localhost:8080' }, 403],
      [{ 'Sec-Fetch-Site': 'same-site' }, 403],
      [{ 'Sec-Fetch-Site': 'cross-site' }, 403],
      [{ 'Sec-Fetch-Site': 'none' }, 403],
      [{}, 403],
      [{ Origin: 'http://localhost' }, 201],
      [{ 'Sec-Fetch-Site': 'same-origin' }, 201],
    ];
    for (const [i, [headers, status]] of cases.entries()) {
      const reply = await t.request('POST', '/api/v1/tokens', {
        json: { name: `x${i}` },
        headers: { Cookie: browser.cookie, ...headers },
      });
      expect([headers, reply.status]).toEqual([headers, status]);
      if (Object.keys(headers).length === 0) expect(await reply.text()).toContain('Outside a browser');
    }
  });

  test('a page of another site can not sign its visitor in', async () => {
    await insertUser(t.sql, 'ada', ['admin']);
    const { code } = await createSignInCode({ sql: t.sql, now: t.clock.now }, 'ada');
    const headers = { Origin: 'https://evil.example' };
    expect((await t.request('POST', '/api/v1/sign-in/exchange', { json: { code }, headers })).status).toBe(
      403,
    );
    expect((await t.request('POST', '/api/v1/sign-in/exchange', { json: { code } })).status).toBe(200);
  });

  test('a bearer token needs no origin, and a cookie does not help an invalid one', async () => {
    const browser = await signedIn('ada');
    const { token } = await t.user('bea', ['viewer']);
    expect((await t.request('POST', '/api/v1/tokens', { token, json: { name: 'x' } })).status).toBe(201);
    for (const bad of ['oct_wrongwrongwrongwrong', 'short']) {
      const reply = await browser.request('GET', '/api/v1/me', { token: bad });
      expect(reply.status).toBe(401);
    }
    const basic = await browser.request('GET', '/api/v1/me', { headers: { Authorization: 'Basic YTpi' } });
    expect(basic.status).toBe(401);
  });
});

describe('API tokens', () => {
  async function makeToken(token: string, json: object): Promise<CreatedApiToken> {
    const reply = await t.request('POST', '/api/v1/tokens', { token, json });
    expect(reply.status).toBe(201);
    return (await reply.json()) as CreatedApiToken;
  }

  test('a token is shown once, works, shows when it was used, and ends when it is revoked', async () => {
    const { token } = await t.user('ada', ['viewer']);
    const made = await makeToken(token, { name: 'ci' });
    expect(made.token).toMatch(/^oct_[\w-]{43}$/);
    expect(made.token.startsWith(made.prefix)).toBe(true);
    expect(Date.parse(made.expiresAt ?? '')).toBe(t.clock.now().getTime() + 90 * dayMs);
    expect((await t.request('GET', '/api/v1/me', { token: made.token })).status).toBe(200);
    const list = (await (await t.request('GET', '/api/v1/tokens', { token })).json()) as TokenPage;
    expect(JSON.stringify(list)).not.toContain(made.token);
    expect(list.items[0]).toMatchObject({ id: made.id, lastUsedAt: t.clock.now().toISOString() });
    expect((await t.request('DELETE', `/api/v1/tokens/${made.id}`, { token })).status).toBe(204);
    expect((await t.request('GET', '/api/v1/me', { token: made.token })).status).toBe(401);
    expect(await audited()).toEqual(['api_token.created', 'api_token.revoked']);
  });

  test('a token ends when it expires, even while it is cached', async () => {
    const { token } = await t.user('ada', ['viewer']);
    const made = await makeToken(token, { name: 'ci', expiresInDays: 1 });
    t.clock.advance(dayMs - 1_000);
    expect((await t.request('GET', '/api/v1/me', { token: made.token })).status).toBe(200);
    t.clock.advance(1_000);
    expect((await t.request('GET', '/api/v1/me', { token: made.token })).status).toBe(401);
  });

  test('a token made with a token does not outlive it', async () => {
    const { token } = await t.user('ada', ['viewer']);
    const parent = await makeToken(token, { name: 'short', expiresInDays: 1 });
    const child = await makeToken(parent.token, { name: 'long', expiresInDays: 365 });
    expect(child.expiresAt).toBe(parent.expiresAt);
  });

  test('another user’s token is not found', async () => {
    const ada = await t.user('ada', ['viewer']);
    const bea = await t.user('bea', ['admin']);
    const made = await makeToken(ada.token, { name: 'ci' });
    expect((await t.request('DELETE', `/api/v1/tokens/${made.id}`, { token: bea.token })).status).toBe(404);
    const list = (await (await t.request('GET', '/api/v1/tokens', { token: bea.token })).json()) as TokenPage;
    expect(list.items.map((item) => item.name)).toEqual(['test']);
  });

  test('the list comes in pages, newest first', async () => {
    const { token } = await t.user('ada', ['viewer']);
    for (const name of ['a', 'b', 'c']) await makeToken(token, { name });
    const names: string[] = [];
    let cursor: string | null = null;
    do {
      const query: string = cursor === null ? '' : `&cursor=${cursor}`;
      const reply = await t.request('GET', `/api/v1/tokens?limit=2${query}`, { token });
      const page = (await reply.json()) as TokenPage;
      names.push(...page.items.map((item) => item.name));
      cursor = page.nextCursor;
    } while (cursor !== null);
    expect(names).toEqual(['c', 'b', 'a', 'test']);
    expect((await t.request('GET', '/api/v1/tokens?cursor=zzz', { token })).status).toBe(400);
  });

  test('a user can have at most a hundred tokens', async () => {
    const { token } = await t.user('ada', ['viewer']);
    for (let i = 0; i < 99; i++) await makeToken(token, { name: `t${i}` });
    const reply = await t.request('POST', '/api/v1/tokens', { token, json: { name: 'one more' } });
    expect(reply.status).toBe(409);
  });

  test('requests within five seconds ask the database once', async () => {
    const { token } = await t.user('ada', ['viewer']);
    await t.request('POST', '/api/v1/sign-out', { token });
    await t.sql`delete from api_tokens`;
    expect((await t.request('POST', '/api/v1/sign-out', { token })).status).toBe(204);
    t.clock.advance(5_000);
    expect((await t.request('POST', '/api/v1/sign-out', { token })).status).toBe(401);
  });
});
