import type {
  ApiToken,
  CreatedApiToken,
  ErrorBody,
  Session,
  SignInLink,
  User,
  UserGroup,
} from '@opsconductor/protocol';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { hashCheaply } from '../../../auth/passwords/testing.ts';
import { holdRows, setupPeople, type TestPeople, untilWaiting } from './identity-testing.ts';

hashCheaply();

const dayMs = 86_400_000;
let t: TestPeople;
let admin: { id: number; token: string };
beforeEach(async () => {
  t = await setupPeople();
  admin = await t.user('root', ['admin']);
});
afterEach(() => t.close());

const create = (json: object, status?: number) => t.call<User>('POST', 'users', admin.token, json, status);
const update = (id: number, json: object, status?: number) =>
  t.call<User>('PUT', `users/${id}`, admin.token, json, status);
const names = async (query: string) =>
  (await t.call<{ items: User[] }>('GET', `users?${query}`, admin.token)).items.map(({ name }) => name);

/** Returns a user who may edit people and nothing else. */
async function helpdesk(): Promise<{ id: number; token: string }> {
  const caller = await t.user('helpdesk', []);
  await t.sql`insert into role_grants ${t.sql({ userId: caller.id, permission: 'people.edit' })}`;
  return caller;
}

describe('users', () => {
  test('are not put back into a group that somebody else has taken them out of', async () => {
    const group = (name: string) => t.call<{ id: number }>('POST', 'user-groups', admin.token, { name });
    const [one, two] = [(await group('one')).id, (await group('two')).id];
    const bea = await create({ name: 'bea', userGroupIds: [one, two] });
    const was = { name: 'bea', description: '', userGroupIds: [two, one] };
    await update(bea.id, { userGroupIds: [one], expected: was });
    const stale = { description: 'On call', userGroupIds: [one, two], expected: was };
    const refused = (await update(bea.id, stale, 409)) as unknown as ErrorBody;
    expect(refused.error.details).toEqual([
      { path: 'expected.userGroupIds', found: `[${one},${two}]`, message: `Is [${one}] by now.` },
    ]);
    const now = await t.call<User>('GET', `users/${bea.id}`, admin.token);
    expect(now).toMatchObject({ description: '', userGroups: [{ id: one }] });
  });

  test.each([
    ['deactivated', 401, (id: number) => update(id, { isActive: false })],
    [
      'deprived of the right',
      403,
      async (id: number) => {
        const [grant] = await t.sql<{ id: number }[]>`select id from role_grants where user_id = ${id}`;
        await t.call('DELETE', `grants/${grant?.id}`, admin.token, undefined, 204);
      },
    ],
    [
      'given more rights',
      201,
      (id: number) => t.call('POST', 'grants', admin.token, { userId: id, role: 'auditor' }),
    ],
  ] as const)('whoever is %s while they send a request is answered %i', async (_, status, change) => {
    const sender = await t.user('sender', ['admin']);
    const friend = await create({ name: 'friend' });
    const text = new TextEncoder().encode(JSON.stringify({ userId: friend.id, role: 'viewer' }));
    let finish = () => {};
    const finished = new Promise<void>((resolve) => {
      finish = resolve;
    });
    let reply: Promise<Response> | undefined;
    await new Promise<void>((begun) => {
      const body = new ReadableStream<Uint8Array>(
        {
          async pull(controller) {
            begun();
            await finished;
            controller.enqueue(text);
            controller.close();
          },
        },
        { highWaterMark: 0 },
      );
      reply = t.request('POST', '/api/v1/grants', { token: sender.token, body });
    });
    await change(sender.id);
    finish();
    expect((await reply)?.status).toBe(status);
    const given = await t.sql`select from role_grants where user_id = ${friend.id}`;
    expect(given).toHaveLength(status === 201 ? 1 : 0);
  });

  test('whoever is deleted while their request is handled is told so, as the request can’t be recorded as theirs', async () => {
    const gone = await t.user('gone', ['admin']);
    const ci = await create({ name: 'ci', kind: 'service' });
    const release = await holdRows(t.sql, `select from users where id = ${ci.id} for update`);
    const path = `users/${ci.id}/tokens`;
    const reply = t.call<ErrorBody>('POST', path, gone.token, { name: 'nightly' }, 401);
    await untilWaiting(t.sql, 1);
    // Not by the route, which would make the next request look the caller up again.
    await release(`delete from users where id = ${gone.id}`);
    const { error } = await reply;
    expect(error).toMatchObject({ code: 'unauthenticated', message: 'This account has been deleted.' });
    expect(t.logged.join('')).not.toContain('request failed');
  });

  test('are created, changed, found and listed by name in pages', async () => {
    const group = await t.call<UserGroup>('POST', 'user-groups', admin.token, { name: 'night shift' });
    const ada = await create({ name: 'ada', displayName: 'Ada L.', userGroupIds: [group.id] });
    expect(ada).toMatchObject({
      name: 'ada',
      kind: 'person',
      isActive: true,
      hasPassword: false,
      userGroups: [{ id: group.id, name: 'night shift' }],
      roles: [],
      sessions: 0,
      lastSignInAt: null,
    });
    await create({ name: 'Bea' });
    await create({ name: 'ci', kind: 'service' });
    const first = await t.call<{ items: User[]; nextCursor: string }>('GET', 'users?limit=2', admin.token);
    expect(first.items.map(({ name }) => name)).toEqual(['ada', 'Bea']);
    expect(await names(`limit=2&cursor=${first.nextCursor}`)).toEqual(['ci', 'root']);
    expect(await names('search=a%20l')).toEqual(['ada']);
    expect(await names('search=%25')).toEqual([]);
    expect(await names('kind=service')).toEqual(['ci']);
    expect(await names(`userGroupId=${group.id}`)).toEqual(['ada']);
    const changed = await update(ada.id, { name: 'ada2', description: 'On call', userGroupIds: [] });
    expect(changed).toMatchObject({
      name: 'ada2',
      displayName: 'Ada L.',
      description: 'On call',
      userGroups: [],
    });
    expect(await t.call('GET', `users/${ada.id}`, admin.token)).toEqual(changed);
    await t.call('GET', 'users/999', admin.token, undefined, 404);
    await update(999, {}, 404);
  });

  test('have unique names, whatever their case or Unicode form', async () => {
    const zoe = await create({ name: 'Zo\u00eb' });
    await create({ name: 'zo\u00eb' }, 409);
    await create({ name: 'Zoe\u0308' }, 409);
    await create({ name: 'ROOT', kind: 'service' }, 409);
    const other = await create({ name: 'other' });
    await update(other.id, { name: 'ZO\u00cb'.toLowerCase() }, 409);
    expect((await update(zoe.id, { name: 'zo\u00eb' })).name).toBe('zo\u00eb');
    for (const name of ['', ' x', 'a\u202eb', 'a\nb', 'x'.repeat(101)]) await create({ name }, 400);
    await create({ name: 'x', userGroupIds: [999] }, 400);
    await create({ name: 'x', password: 'chosen by an administrator' }, 400);
  });

  test('are hidden from anyone without the permission everywhere', async () => {
    const { token } = await t.user('bea', ['author', 'auditor']);
    for (const path of ['users', `users/${admin.id}`, `users/${admin.id}/access`, 'user-groups', 'grants']) {
      await t.call('GET', path, token, undefined, 403);
    }
  });
});

describe('deactivating', () => {
  test('ends sessions, links and tokens at once, and activating the user brings none of them back', async () => {
    const { id, token } = await t.user('ada', ['operator']);
    const browser = await t.browser().enter('ada');
    expect(await browser.status('GET', 'me')).toBe(200);
    expect((await t.request('GET', '/api/v1/me', { token })).status).toBe(200);
    const forgotten: boolean[] = [];
    t.authenticator.onForgotten((isAffected) => {
      forgotten.push(isAffected({ userId: id } as never), isAffected({ userId: admin.id } as never));
    });
    expect(await update(id, { isActive: false })).toMatchObject({ isActive: false, sessions: 0, tokens: 0 });
    expect(forgotten).toEqual([true, false]);
    expect(await browser.status('GET', 'me')).toBe(401);
    expect((await t.request('GET', '/api/v1/me', { token })).status).toBe(401);
    expect(await names('isActive=false')).toEqual(['ada']);
    await update(id, { isActive: true });
    expect(await browser.status('GET', 'me')).toBe(401);
    expect((await t.request('GET', '/api/v1/me', { token })).status).toBe(401);
    const told = (await t.audited()).filter(({ action }) => action === 'user.changed');
    expect(told[0]?.detail).toMatchObject({ endedSessions: 1, deletedTokens: 1, to: { isActive: false } });
  });

  test('one’s own account is refused, and so is deleting it', async () => {
    await t.user('other', ['admin']);
    await update(admin.id, { isActive: false }, 409);
    await t.call('DELETE', `users/${admin.id}`, admin.token, undefined, 409);
    expect((await update(admin.id, { displayName: 'Root' })).displayName).toBe('Root');
  });
});

describe('deleting', () => {
  test('removes a user who has done nothing; the audit log keeps the name', async () => {
    const ada = await create({ name: 'ada' });
    await t.sql`insert into role_grants ${t.sql({ userId: ada.id, role: 'viewer' })}`;
    await t.call('DELETE', `users/${ada.id}`, admin.token, undefined, 204);
    await t.call('GET', `users/${ada.id}`, admin.token, undefined, 404);
    await t.call('DELETE', `users/${ada.id}`, admin.token, undefined, 404);
    expect((await t.audited()).slice(-2)).toMatchObject([
      {
        action: 'grant.deleted',
        detail: { role: 'viewer', scope: 'everywhere', subject: { name: 'ada' }, deletedWith: 'user' },
      },
      { action: 'user.deleted', detail: { name: 'ada', grants: 1 } },
    ]);
  });

  test('is refused for a user who is named by anything that they made', async () => {
    const ada = await create({ name: 'ada' });
    await t.sql`insert into target_groups ${t.sql({ name: 'web', createdBy: ada.id })}`;
    const reply = await t.request('DELETE', `/api/v1/users/${ada.id}`, { token: admin.token });
    expect(reply.status).toBe(409);
    expect(((await reply.json()) as ErrorBody).error.message).toContain('(target groups)');
    await update(ada.id, { isActive: false });
  });
});

describe('a sign-in link', () => {
  const link = (id: number, status?: number) =>
    t.call<SignInLink>('POST', `users/${id}/sign-in-link`, admin.token, undefined, status);
  const codeOf = ({ url }: SignInLink) => new URL(url).hash.replace('#code=', '');
  const exchange = (code: string) => t.browser().status('POST', 'sign-in/exchange', { code });

  test('signs in once within a day, replaces the old password, and ends open sessions', async () => {
    const ada = await create({ name: 'ada' });
    const first = await link(ada.id);
    expect(first.url).toMatch(/^https:\/\/ops\.example\.com\/#code=[\w-]{43}$/);
    expect(Date.parse(first.expiresAt)).toBe(t.clock.now().getTime() + dayMs);
    const browser = t.browser();
    expect(await browser.status('POST', 'sign-in/exchange', { code: codeOf(first) })).toBe(200);
    expect(await exchange(codeOf(first))).toBe(401);
    expect(await browser.status('PUT', 'me/password', { password: 'correct horse battery' })).toBe(204);
    const second = await link(ada.id);
    const user = await t.call<User>('GET', `users/${ada.id}`, admin.token);
    expect(user).toMatchObject({ hasPassword: false, sessions: 0, signInLinkExpiresAt: second.expiresAt });
    expect(await browser.status('GET', 'me')).toBe(401);
    expect((await t.browser().signIn('ada', 'correct horse battery')).status).toBe(401);
    const third = await link(ada.id);
    expect(await exchange(codeOf(second))).toBe(401);
    t.clock.advance(dayMs);
    expect(await exchange(codeOf(third))).toBe(401);
    const stored = JSON.stringify(
      await t.sql`
      select (select json_agg(a) from audit_log a)::text || (select json_agg(c) from sign_in_codes c)::text as all`,
    );
    expect(stored).not.toContain(codeOf(third));
    // As bytes, both those of the code's text and those that the text encodes.
    for (const encoding of ['utf8', 'base64url'] as const)
      expect(stored).not.toContain(Buffer.from(codeOf(third), encoding).toString('hex'));
  });

  test('is not made for oneself, a service account or an inactive user', async () => {
    await link(admin.id, 409);
    await link((await create({ name: 'ci', kind: 'service' })).id, 409);
    const ada = await create({ name: 'ada' });
    await update(ada.id, { isActive: false });
    await link(ada.id, 409);
    await link(999, 404);
  });

  test('lifts the locks caused by wrong passwords, as unlocking does', async () => {
    const ada = await create({ name: 'ada' });
    const lock = async () => {
      await t.sql`
        insert into sign_in_attempts (name_digest, address, failures, last_attempt_at, locked_until)
        select sha256('ada'), address, 10, ${t.clock.now()}::timestamptz, ${t.clock.now()}::timestamptz + interval '1 minute'
        from unnest(array['10.0.0.1', '10.0.0.2']) as address
        on conflict (name_digest, address) do update set locked_until = excluded.locked_until`;
      expect(await t.call('GET', `users/${ada.id}`, admin.token)).toMatchObject({
        lockedUntil: new Date(t.clock.now().getTime() + 60_000).toISOString(),
        lockedAddresses: 2,
      });
    };
    const isFree = async () =>
      expect(await t.call('GET', `users/${ada.id}`, admin.token)).toMatchObject({
        lockedUntil: null,
        lockedAddresses: 0,
      });
    await lock();
    await t.call('POST', `users/${ada.id}/unlock`, admin.token, undefined, 204);
    await isFree();
    expect((await t.audited()).at(-1)).toMatchObject({
      action: 'user.unlocked',
      detail: { lockedAddresses: 2 },
    });
    await lock();
    await link(ada.id);
    await isFree();
  });
});

describe('service accounts', () => {
  test('have only the API tokens that are made for them, and no other way in', async () => {
    const ci = await create({ name: 'ci', kind: 'service' });
    const make = (json: object, status?: number) =>
      t.call<CreatedApiToken>('POST', `users/${ci.id}/tokens`, admin.token, json, status);
    await t.call('POST', 'grants', admin.token, { userId: ci.id, role: 'operator' });
    const made = await make({ name: 'deploy', expiresInDays: 30, permissions: ['read', 'run'] });
    expect(await t.call('GET', 'me', made.token, undefined, 403)).toBeDefined();
    const whole = await make({ name: 'whole' });
    expect(await t.call('GET', 'me', whole.token)).toMatchObject({
      name: 'ci',
      kind: 'service',
      via: 'api_token',
    });
    await make({ name: 'deploy' }, 409);
    const list = await t.call<{ items: ApiToken[] }>('GET', `users/${ci.id}/tokens`, admin.token);
    expect(list.items.map(({ name }) => name)).toEqual(['whole', 'deploy']);
    await t.call('DELETE', `users/${ci.id}/tokens/${whole.id}`, admin.token, undefined, 204);
    await t.call('GET', 'me', whole.token, undefined, 401);
    await t.call('DELETE', `users/${ci.id}/tokens/${whole.id}`, admin.token, undefined, 404);
    await expect(t.browser().enter('ci')).rejects.toThrow('who can sign in');
    await expect(t.sql`update users set password_hash = 'x' where id = ${ci.id}`).rejects.toThrow(
      'users_service_has_no_password',
    );
    await update(ci.id, { isActive: false });
    await make({ name: 'late' }, 409);
  });

  test('are the only users whose tokens others make; people make their own, which an administrator can revoke', async () => {
    const { id, token } = await t.user('ada', ['viewer']);
    await t.call('POST', `users/${id}/tokens`, admin.token, { name: 'x' }, 409);
    const own = await t.call<CreatedApiToken>('POST', 'tokens', token, { name: 'mine' });
    await t.call('DELETE', `users/${admin.id}/tokens/${own.id}`, admin.token, undefined, 404);
    await t.call('DELETE', `users/${id}/tokens/${own.id}`, admin.token, undefined, 204);
    await t.call('GET', 'me', own.token, undefined, 401);
  });
});

test('sessions of other users can be listed and ended', async () => {
  const { id } = await t.user('ada', []);
  const one = await t.browser('10.0.0.1').enter('ada');
  const two = await t.browser('10.0.0.2').enter('ada');
  const list = async () =>
    (await t.call<{ items: Session[] }>('GET', `users/${id}/sessions`, admin.token)).items;
  const sessions = await list();
  expect(sessions.map(({ address, isCurrent }) => ({ address, isCurrent }))).toEqual([
    { address: '10.0.0.2', isCurrent: false },
    { address: '10.0.0.1', isCurrent: false },
  ]);
  await t.call('DELETE', `users/${id}/sessions/${sessions[0]?.id}`, admin.token, undefined, 204);
  expect([await two.status('GET', 'me'), await one.status('GET', 'me')]).toEqual([401, 200]);
  await t.call('DELETE', `users/${id}/sessions/${sessions[0]?.id}`, admin.token, undefined, 404);
  expect(await t.call('DELETE', `users/${id}/sessions`, admin.token)).toEqual({ ended: 1 });
  expect(await one.status('GET', 'me')).toBe(401);
  expect(await list()).toEqual([]);
  await t.call('GET', 'users/999/sessions', admin.token, undefined, 404);
  await t.call('GET', 'users/999/tokens', admin.token, undefined, 404);
});

describe('a caller who may edit people and holds nothing else', () => {
  test('can’t change anyone who holds more, and the refusal is recorded', async () => {
    const { token } = await helpdesk();
    await t.browser().enter('root');
    const path = `users/${admin.id}`;
    const tries: [string, string, object?][] = [
      ['PUT', path, { displayName: 'x' }],
      ['PUT', path, { isActive: false }],
      ['DELETE', path],
      ['POST', `${path}/sign-in-link`],
      ['POST', `${path}/unlock`],
      ['DELETE', `${path}/sessions`],
      ['DELETE', `${path}/sessions/1`],
      ['DELETE', `${path}/tokens/1`],
    ];
    for (const [method, path, json] of tries) {
      const reply = await t.call<ErrorBody>(method, path, token, json, 403);
      expect(reply.error.message).toContain('permission read on everything');
      expect(reply.error.details?.[0]?.message).toContain('Nobody can grant');
    }
    const robot = await create({ name: 'robot', kind: 'service' });
    await t.call('POST', 'grants', admin.token, { userId: robot.id, role: 'operator' });
    await t.call('POST', `users/${robot.id}/tokens`, token, { name: 'x' }, 403);
    const refused = (await t.audited()).filter(({ action }) => action === 'request.refused');
    expect(refused).toHaveLength(tries.length + 1);
    expect(refused[0]).toMatchObject({
      actorName: 'helpdesk',
      detail: { permission: 'read', apiToken: 'test' },
    });
  });

  test('adds nobody to a group that holds more, and helps everybody else', async () => {
    const { token } = await helpdesk();
    const group = await t.call<UserGroup>('POST', 'user-groups', admin.token, { name: 'admins' });
    await t.call('POST', 'grants', admin.token, { userGroupId: group.id, role: 'admin' });
    await t.call('POST', 'users', token, { name: 'friend', userGroupIds: [group.id] }, 403);
    const friend = await t.call<User>('POST', 'users', token, { name: 'friend' });
    await t.call('PUT', `users/${friend.id}`, token, { userGroupIds: [group.id] }, 403);
    await t.call('POST', `users/${friend.id}/sign-in-link`, token);
    await t.call('PUT', `users/${friend.id}`, token, { isActive: false });
  });

  test('holds less with a restricted API token', async () => {
    const bounded = await t.call<CreatedApiToken>('POST', 'tokens', admin.token, {
      name: 'people only',
      permissions: ['people.edit'],
    });
    const { id } = await t.user('ada', ['viewer']);
    await t.call('POST', `users/${id}/sign-in-link`, bounded.token, undefined, 403);
    expect(await t.call('GET', 'users', bounded.token)).toBeDefined();
  });
});
