import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Sql } from '../store/database/connection.ts';
import { listen, tellForgotten } from '../store/database/notifications.ts';
import { setupDatabase, type TestDatabase } from '../store/database/testing.ts';
import { insertApiToken } from '../store/people/api-tokens.ts';
import { insertSession } from '../store/people/sessions.ts';
import { insertUser } from '../store/people/users.ts';
import { Authenticator } from './authenticator.ts';
import { hashSecretToken, makeSecretToken } from './secret-token.ts';

let database: TestDatabase;
let nowMs: number;
const now = () => new Date(nowMs);
beforeEach(async () => {
  database = await setupDatabase();
  nowMs = Date.parse('2026-01-01T00:00:00Z');
});
afterEach(() => database.close());

async function makeToken(): Promise<{ id: number; token: string }> {
  const token = makeSecretToken('oct_');
  const userId = await insertUser(database.sql, `user-${token.slice(4, 10)}`, ['viewer']);
  const id = await insertApiToken(database.sql, {
    userId,
    name: 'x',
    prefix: 'oct_',
    tokenHash: hashSecretToken(token),
    createdAt: now(),
    expiresAt: null,
  });
  return { id, token };
}

function signal(): { promise: Promise<void>; resolve: () => void } {
  let resolve = () => {};
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}

async function lastUsed(id: number): Promise<string | undefined> {
  const rows = await database.sql<
    { lastUsedAt: Date | null }[]
  >`select last_used_at from api_tokens where id = ${id}`;
  return rows[0]?.lastUsedAt?.toISOString();
}

test('the last use of a token is recorded at most once a minute', async () => {
  const authenticator = new Authenticator({ sql: database.sql, now, sessionIdleMs: 1_000 });
  const { id, token } = await makeToken();
  await authenticator.byApiToken(token);
  nowMs += 30_000;
  await authenticator.byApiToken(token);
  expect(await lastUsed(id)).toBe('2026-01-01T00:00:00.000Z');
  nowMs += 30_000;
  await authenticator.byApiToken(token);
  expect(await lastUsed(id)).toBe('2026-01-01T00:01:00.000Z');
});

test('a token revoked while it is being looked up is not cached', async () => {
  const { id, token } = await makeToken();
  const found = signal();
  const goOn = signal();
  let asked = 0;
  // Runs the real query, but holds back its answer. Fragments of a query are passed through.
  const slow = new Proxy(database.sql, {
    apply: (sql, _this, args: Parameters<Sql>) => {
      const answer = Reflect.apply(sql, undefined, args) as Promise<unknown>;
      if (!/^\s*select/.test(String(args[0]))) return answer;
      asked++;
      return answer.then(async (rows) => {
        found.resolve();
        await goOn.promise;
        return rows;
      });
    },
  });
  const authenticator = new Authenticator({ sql: slow, now, sessionIdleMs: 1_000 });
  const lookup = authenticator.byApiToken(token);
  await found.promise;
  await database.sql`delete from api_tokens`;
  authenticator.forget('api_token', id);
  goOn.resolve();
  await lookup;
  const askedBefore = asked;
  expect(await authenticator.byApiToken(token)).toBeUndefined();
  expect(asked).toBeGreaterThan(askedBefore);
});

test('a wrong token is looked up each time and never cached as valid', async () => {
  const authenticator = new Authenticator({ sql: database.sql, now, sessionIdleMs: 1_000 });
  const token = makeSecretToken('oct_');
  expect(await authenticator.byApiToken(token)).toBeUndefined();
  const userId = await insertUser(database.sql, 'late', ['viewer']);
  const row = {
    userId,
    name: 'x',
    prefix: 'oct_',
    tokenHash: hashSecretToken(token),
    createdAt: now(),
    expiresAt: null,
  };
  await insertApiToken(database.sql, row);
  expect((await authenticator.byApiToken(token))?.name).toBe('late');
});

test('a token counts as known to be good until a look-up fails, even if all have to be looked up again', async () => {
  const authenticator = new Authenticator({ sql: database.sql, now, sessionIdleMs: 1_000 });
  const { token } = await makeToken();
  expect(authenticator.wasGood('api_token', token)).toBe(false);
  await authenticator.byApiToken(token);
  authenticator.forgetEverybody();
  authenticator.forgetAll();
  expect(authenticator.wasGood('api_token', token)).toBe(true);
  await database.sql`delete from api_tokens`;
  await authenticator.byApiToken(token);
  expect(authenticator.wasGood('api_token', token)).toBe(false);
});

test('a session token is not accepted as an API token, nor the other way round', async () => {
  const authenticator = new Authenticator({ sql: database.sql, now, sessionIdleMs: 1_000 });
  const { token } = await makeToken();
  expect(await authenticator.bySession(token, '::1')).toBeUndefined();
  expect((await authenticator.byApiToken(token))?.via).toBe('api_token');
  expect(await authenticator.bySession(token, '::1')).toBeUndefined();
});

test('listeners are told what is forgotten, until they stop', async () => {
  const authenticator = new Authenticator({ sql: database.sql, now, sessionIdleMs: 1_000 });
  const one = await authenticator.byApiToken((await makeToken()).token);
  const other = await authenticator.byApiToken((await makeToken()).token);
  if (one === undefined || other === undefined) throw new Error('no principals');
  const told: string[] = [];
  const stop = authenticator.onForgotten((isAffected) =>
    told.push(`${isAffected(one)} ${isAffected(other)}`),
  );
  authenticator.forgetUser(one.userId);
  authenticator.forgetUsers([one.userId, other.userId]);
  authenticator.forgetUsers([]);
  authenticator.forget('api_token', other.viaId);
  authenticator.forget('session', other.viaId);
  expect(told).toEqual(['true false', 'true true', 'false true', 'false false']);
  stop();
  authenticator.forgetUser(one.userId);
  expect(told).toHaveLength(4);
});

test('a change by another server applies here within five seconds, for requests and for open streams', async () => {
  const authenticator = new Authenticator({ sql: database.sql, now, sessionIdleMs: 60_000 });
  const { id, token } = await makeToken();
  const principal = await authenticator.byApiToken(token);
  if (principal === undefined) throw new Error('no principal');
  expect((await authenticator.again(principal))?.authority.holdsEverywhere('read')).toBe(true);
  await database.sql`update role_grants set role = 'auditor'`;
  nowMs += 5_000;
  expect((await authenticator.again(principal))?.authority.holdsEverywhere('audit.read')).toBe(true);
  expect((await authenticator.byApiToken(token))?.authority.holdsEverywhere('audit.read')).toBe(true);
  await database.sql`delete from api_tokens where id = ${id}`;
  nowMs += 4_999;
  expect(await authenticator.again(principal)).toBeDefined();
  nowMs += 1;
  expect(await authenticator.again(principal)).toBeUndefined();
  expect(await authenticator.byApiToken(token)).toBeUndefined();
});

test('looking a session up again does not count as using it', async () => {
  const authenticator = new Authenticator({ sql: database.sql, now, sessionIdleMs: 120_000 });
  const token = makeSecretToken();
  const userId = await insertUser(database.sql, 'ada', ['viewer']);
  await insertSession(database.sql, {
    userId,
    tokenHash: hashSecretToken(token),
    createdAt: now(),
    expiresAt: new Date(nowMs + 3_600_000),
    address: '::1',
    userAgent: '',
    openedBy: 'password',
  });
  const principal = await authenticator.bySession(token, '::1');
  if (principal === undefined) throw new Error('no principal');
  nowMs += 90_000;
  expect(await authenticator.again(principal)).toBeDefined();
  nowMs += 30_000;
  expect(await authenticator.again(principal)).toBeUndefined();
});

test('what one server revokes is forgotten by another as soon as the bus announces it', async () => {
  const here = new Authenticator({
    sql: database.sql,
    now,
    sessionIdleMs: 1_000,
    tell: (notice) => void tellForgotten(database.sql, notice),
  });
  const there = new Authenticator({ sql: database.sql, now, sessionIdleMs: 1_000 });
  const { id, token } = await makeToken();
  const other = await makeToken();
  for (const each of [token, other.token]) await there.byApiToken(each);
  const heard = signal();
  const nothing = () => undefined;
  const bus = await listen(database.sql, {
    progress: nothing,
    output: nothing,
    session: nothing,
    segment: nothing,
    scans: nothing,
    transfers: nothing,
    asked: nothing,
    answered: nothing,
    resync: nothing,
    forget: (notice) => {
      there.heard(notice);
      heard.resolve();
    },
  });
  await database.sql`delete from api_tokens where id in (${id}, ${other.id})`;
  here.forget('api_token', id);
  await heard.promise;
  await bus.stop();
  expect(await there.byApiToken(token)).toBeUndefined();
  // The change was not announced, so the cached principal is used for a few seconds.
  expect(await there.byApiToken(other.token)).toBeDefined();
  there.forgetAll();
  expect(await there.byApiToken(other.token)).toBeUndefined();
});
