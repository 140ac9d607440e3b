// API tokens that may do less than their user, that expire, and that the audit log names.
import type { ApiToken, CreatedApiToken, ErrorBody } from '@opsconductor/protocol';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { setupPeople, type TestPeople } from './identity-testing.ts';

const dayMs = 86_400_000;
let t: TestPeople;
let admin: { id: number; token: string };
beforeEach(async () => {
  t = await setupPeople();
  admin = await t.user('root', ['admin']);
});
afterEach(() => t.close());

const make = (json: object, token = admin.token, status?: number) =>
  t.call<CreatedApiToken>('POST', 'tokens', token, json, status);

test('a restricted token can do what its restrictions leave, and never touches its user’s account', async () => {
  const scope = { kind: 'category', id: 1 };
  const reads = await make({ name: 'reads people', permissions: ['people.edit'] });
  expect(reads).toMatchObject({ permissions: ['people.edit'], scopes: null });
  await t.call('GET', 'users', reads.token);
  const scoped = await make({ name: 'one category', scopes: [scope] });
  expect(scoped.scopes).toEqual([{ ...scope, name: 'general' }]);
  await t.call('GET', 'users', scoped.token, undefined, 403);
  for (const { token } of [reads, scoped]) {
    await t.call('GET', 'me', token, undefined, 403);
    await t.call('POST', 'tokens', token, { name: 'wider' }, 403);
    await t.call('GET', 'tokens', token, undefined, 403);
    await t.call('DELETE', 'me/sessions', token, undefined, 403);
  }
});

test('a refusal names the token, because its user may hold what it lacks', async () => {
  const { token } = await make({ name: 'reads', permissions: ['read'] });
  const told = async (path: string) =>
    (await t.call<ErrorBody>('GET', path, token, undefined, 403)).error.message;
  expect(await told('users')).toBe(
    'This needs the permission people.edit, which root does not have with the API token “reads”.',
  );
  expect(await told('me')).toBe(
    'An API token that is limited to some permissions or places can’t be used for the account of its user.',
  );
});

test('restrictions that leave nothing, or that the user does not hold, are refused without revealing what exists', async () => {
  const { token } = await t.user('ada', ['viewer']);
  const told = async (json: object) => {
    const reply = (await make({ name: 'x', ...json }, token, 400)) as unknown as ErrorBody;
    return reply.error.details?.[0];
  };
  expect(await told({ permissions: ['read', 'run'] })).toMatchObject({ path: 'permissions[1]' });
  expect(await told({ permissions: [] })).toMatchObject({ path: 'permissions' });
  expect(await told({ permissions: ['self'] })).toMatchObject({ path: 'permissions[0]' });
  expect(await told({ scopes: [{ kind: 'category', id: 999 }] })).toMatchObject({ path: 'scopes[0]' });
  const bea = await t.user('bea', []);
  await t.call('POST', 'grants', admin.token, {
    userId: bea.id,
    role: 'viewer',
    scope: { kind: 'category', id: 1 },
  });
  const other = await t.sql<{ id: number }[]>`insert into categories (name) values ('secret') returning id`;
  const refusal = async (id: number) => {
    const json = { name: 'x', scopes: [{ kind: 'category', id }] };
    return ((await make(json, bea.token, 400)) as unknown as ErrorBody).error.message;
  };
  expect(await refusal(other[0]?.id ?? 0)).toBe(await refusal(999));
});

test('a token lasts 90 days by default, and no longer than the server allows', async () => {
  await t.close();
  t = await setupPeople({ session: { idleMs: dayMs, absoluteMs: dayMs }, apiTokenMaxDays: 30 });
  admin = await t.user('root', ['admin']);
  const lasts = (made: CreatedApiToken) =>
    (Date.parse(made.expiresAt ?? '') - t.clock.now().getTime()) / dayMs;
  expect(lasts(await make({ name: 'a' }))).toBe(30);
  expect(lasts(await make({ name: 'b', expiresInDays: 7 }))).toBe(7);
  const reply = (await make({ name: 'c', expiresInDays: 31 }, admin.token, 400)) as unknown as ErrorBody;
  expect(reply.error).toMatchObject({
    message: 'A token may last at most 30 days on this server (--api-token-max-days).',
    details: [{ path: 'expiresInDays', found: '31', allowed: '1 to 30' }],
  });
});

test('an expired token stays in the list for a month, and its name is free at once', async () => {
  const old = await make({ name: 'ci', expiresInDays: 1 });
  t.clock.advance(dayMs);
  await t.call('GET', 'me', old.token, undefined, 401);
  await make({ name: 'ci' });
  const names = async () =>
    (await t.call<{ items: ApiToken[] }>('GET', 'tokens', admin.token)).items.map(({ name }) => name);
  expect(await names()).toEqual(['ci', 'ci', 'test']);
  t.clock.advance(31 * dayMs);
  await make({ name: 'next' });
  expect(await names()).toEqual(['next', 'ci', 'test']);
});

test('whoever sends an expired token is told when it expired', async () => {
  const { token, expiresAt } = await make({ name: 'ci', expiresInDays: 1 });
  const told = async (sent: string) =>
    (await t.call<ErrorBody>('GET', 'me', sent, undefined, 401)).error.message;
  t.clock.advance(dayMs);
  expect(await told(token)).toBe(`This API token expired at ${expiresAt}: make another one.`);
  expect(await told(`${token}x`)).toBe('Sign in, or send a valid API token.');
});

test('its last use is shown with time and address', async () => {
  const { token } = await make({ name: 'ci' });
  const used = await t.request('GET', '/api/v1/me', {
    token,
    headers: { 'X-Forwarded-For': '198.51.100.9' },
  });
  expect(used.status).toBe(200);
  const list = await t.call<{ items: ApiToken[] }>('GET', 'tokens', admin.token);
  expect(list.items[0]).toMatchObject({
    name: 'ci',
    lastUsedAt: t.clock.now().toISOString(),
    lastUsedAddress: '198.51.100.9',
  });
});

describe('the audit log', () => {
  test('names the token that was used for an action, and none for an action in a session', async () => {
    const { token } = await make({ name: 'provisioning' });
    await t.call('POST', 'users', token, { name: 'ada' });
    const browser = await t.browser().enter('root');
    expect(await browser.status('POST', 'users', { name: 'bea' })).toBe(201);
    const rows = (await t.audited()).filter(({ action }) => action === 'user.created');
    expect(rows.map(({ actorName, detail }) => [actorName, detail.apiToken])).toEqual([
      ['root', 'provisioning'],
      ['root', undefined],
    ]);
  });
});
