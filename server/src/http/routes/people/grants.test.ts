import type { ErrorBody, Me, RoleGrant, UserGroup, UserGroupMember } from '@opsconductor/protocol';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { setPasswordHash } from '../../../store/people/users.ts';
import { holdRows, setupPeople, type TestPeople, untilWaiting } from './identity-testing.ts';

let t: TestPeople;
let admin: { id: number; token: string };
beforeEach(async () => {
  t = await setupPeople();
  admin = await t.user('root', ['admin']);
});
afterEach(() => t.close());

const grant = (json: object, status?: number) =>
  t.call<RoleGrant>('POST', 'grants', admin.token, json, status);
const makeGroup = (name: string, memberIds: number[] = []) =>
  t.call<UserGroup>('POST', 'user-groups', admin.token, { name, memberIds });
const me = (token: string) => t.call<Me>('GET', 'me', token);
const listed = async (query: string) =>
  (await t.call<{ items: RoleGrant[] }>('GET', `grants?${query}`, admin.token)).items.map(({ id }) => id);

async function category(name: string): Promise<{ kind: 'category'; id: number; name: string }> {
  const rows = await t.sql<{ id: number }[]>`insert into categories (name) values (${name}) returning id`;
  return { kind: 'category', id: rows[0]?.id ?? 0, name };
}
const idOf = ({ kind, id }: { kind: string; id: number }) => ({ kind, id });

describe('a grant', () => {
  test('takes effect at once, is listed with its scope’s name, and ends at once', async () => {
    const ada = await t.user('ada', []);
    const ops = await category('ops');
    expect(await me(ada.token)).toMatchObject({ permissions: ['self'], roles: [] });
    const made = await grant({ userId: ada.id, role: 'operator', scope: idOf(ops) });
    expect(made).toMatchObject({
      subject: { kind: 'user', id: ada.id, name: 'ada' },
      role: 'operator',
      permission: null,
      scope: ops,
      createdBy: { id: admin.id, name: 'root' },
    });
    const scoped = await me(ada.token);
    expect(scoped).toMatchObject({ permissions: ['read', 'run', 'self'], roles: ['operator'] });
    expect(scoped.reach[0]).toEqual({ permission: 'read', everywhere: false, within: [[idOf(ops)]] });
    await t.call('DELETE', `grants/${made.id}`, admin.token, undefined, 204);
    expect((await me(ada.token)).permissions).toEqual(['self']);
    await t.call('DELETE', `grants/${made.id}`, admin.token, undefined, 404);
    expect((await t.audited()).map(({ action }) => action)).toEqual(['grant.created', 'grant.deleted']);
  });

  test('has one subject, one role or permission, and a scope that exists', async () => {
    const { id } = await t.user('ada', []);
    const group = await makeGroup('ops');
    for (const wrong of [
      { role: 'viewer' },
      { userId: id, userGroupId: group.id, role: 'viewer' },
      { userId: id },
      { userId: id, role: 'viewer', permission: 'run' },
      { userId: 999, role: 'viewer' },
      { userGroupId: 999, role: 'viewer' },
      { userId: id, role: 'viewer', scope: { kind: 'category', id: 999 } },
      { userId: id, role: 'viewer', scope: { kind: 'segment', id: 1 } },
      { userId: id, role: 'root' },
      { userId: id, permission: 'self' },
    ]) {
      await grant(wrong, 400);
    }
    expect(await listed('')).toHaveLength(1);
  });

  test('of a permission is refused on a scope where it has no meaning', async () => {
    const { id } = await t.user('ada', []);
    const scope = idOf(await category('ops'));
    const refused = async (permission: string) => {
      const reply = (await grant({ userId: id, permission, scope }, 400)) as unknown as ErrorBody;
      return reply.error.details?.[0]?.allowed;
    };
    expect(await refused('targets.edit')).toBe('segment or target_group');
    expect(await refused('segments.edit')).toBe('segment');
    expect(await refused('people.edit')).toBe('no scope: it is granted everywhere or not at all');
    await grant({ userId: id, permission: 'jobs.edit', scope });
  });

  test('exists only once', async () => {
    const { id } = await t.user('ada', []);
    await grant({ userId: id, role: 'viewer' });
    await grant({ userId: id, role: 'viewer' }, 409);
    await grant({ userId: id, role: 'viewer', scope: idOf(await category('ops')) });
  });

  test('ends with its scope, and never becomes a grant everywhere', async () => {
    const ada = await t.user('ada', []);
    const ops = await category('ops');
    await grant({ userId: ada.id, role: 'operator', scope: idOf(ops) });
    await t.sql`delete from categories where id = ${ops.id}`;
    t.clock.advance(5_000);
    expect((await me(ada.token)).permissions).toEqual(['self']);
  });

  test('is found by subject, role, permission and scope', async () => {
    const { id } = await t.user('ada', []);
    const group = await makeGroup('ops');
    const scope = idOf(await category('ops'));
    const one = await grant({ userId: id, role: 'viewer' });
    const two = await grant({ userId: id, permission: 'run', scope });
    const three = await grant({ userGroupId: group.id, role: 'viewer', scope });
    expect(await listed(`userId=${id}`)).toEqual([two.id, one.id]);
    expect(await listed(`userGroupId=${group.id}`)).toEqual([three.id]);
    expect(await listed('role=viewer')).toEqual([three.id, one.id]);
    expect(await listed('permission=run')).toEqual([two.id]);
    expect(await listed('scopeKind=category')).toEqual([three.id, two.id]);
    expect(await listed(`scopeKind=category&scopeId=${scope.id}`)).toEqual([three.id, two.id]);
    expect(await listed('scopeKind=category&scopeId=999')).toEqual([]);
    expect(await listed('scopeKind=everywhere&role=viewer')).toEqual([one.id]);
    await t.call('GET', 'grants?scopeId=1', admin.token, undefined, 400);
    const page = await t.call<{ nextCursor: string }>('GET', 'grants?limit=1', admin.token);
    expect((await listed(`cursor=${page.nextCursor}`))[0]).toBe(two.id);
  });
});

test('nobody grants or revokes what they do not hold there', async () => {
  const caller = await t.user('lead', ['operator']);
  await grant({ userId: caller.id, permission: 'people.edit' });
  const ops = await category('ops');
  await grant({ userId: caller.id, role: 'author', scope: idOf(ops) });
  const { id } = await t.user('ada', []);
  const byLead = (json: object, status?: number) =>
    t.call<RoleGrant>('POST', 'grants', caller.token, { userId: id, ...json }, status);
  await byLead({ role: 'operator' });
  await byLead({ role: 'author', scope: idOf(ops) });
  const refused = await t.call<ErrorBody>(
    'POST',
    'grants',
    caller.token,
    { userId: id, role: 'author' },
    403,
  );
  expect(refused.error.message).toContain('jobs.edit on everything');
  await byLead({ role: 'admin', scope: idOf(ops) }, 403);
  await byLead({ role: 'author', scope: idOf(await category('other')) }, 403);
  await byLead({ permission: 'audit.read' }, 403);
  const [rootGrant] = await listed(`userId=${admin.id}`);
  await t.call('DELETE', `grants/${rootGrant}`, caller.token, undefined, 403);
});

describe('the last administrator', () => {
  const conflict = (method: string, path: string, json?: object) =>
    t.call<ErrorBody>(method, path, admin.token, json, 409);

  test('can not be removed by grant, group, membership, deactivation, deletion or the loss of a password', async () => {
    const bea = await t.user('bea', []);
    const group = await makeGroup('admins', [bea.id]);
    const byGroup = await grant({ userGroupId: group.id, role: 'admin' });
    const [own] = await listed(`userId=${admin.id}`);
    await t.call('DELETE', `grants/${own}`, bea.token, undefined, 204);
    // Now bea is the only administrator, through the group.
    await t.call('DELETE', `grants/${byGroup.id}`, bea.token, undefined, 409);
    await t.call('DELETE', `user-groups/${group.id}`, bea.token, undefined, 409);
    await t.call('DELETE', `user-groups/${group.id}/members/${bea.id}`, bea.token, undefined, 409);
    await t.call('PUT', `users/${bea.id}`, bea.token, { userGroupIds: [] }, 409);
    const told = await t.call<ErrorBody>('DELETE', `grants/${byGroup.id}`, bea.token, undefined, 409);
    expect(told.error.message).toContain('no active administrator');
    expect(await me(bea.token)).toMatchObject({ roles: ['admin'] });
  });

  test('must be someone who can sign in, if there is one', async () => {
    await setPasswordHash(t.sql, admin.id, 'scrypt$x');
    const robot = await t.call<{ id: number }>('POST', 'users', admin.token, {
      name: 'robot',
      kind: 'service',
    });
    await grant({ userId: robot.id, role: 'admin' });
    const [own] = await listed(`userId=${admin.id}`);
    await conflict('DELETE', `grants/${own}`);
    const bea = await t.user('bea', ['admin']);
    await conflict('DELETE', `grants/${own}`);
    await t.call('POST', `users/${bea.id}/sign-in-link`, admin.token);
    await t.call('DELETE', `grants/${own}`, admin.token, undefined, 204);
  });

  test('does not count if the grant is on a scope', async () => {
    const bea = await t.user('bea', []);
    await grant({ userId: bea.id, role: 'admin', scope: idOf(await category('ops')) });
    const [own] = await listed(`userId=${admin.id}`);
    await conflict('DELETE', `grants/${own}`);
  });

  test('remains when two revoke each other’s grant at once', async () => {
    const bea = await t.user('bea', ['admin']);
    const [ofRoot, ofBea] = [await listed(`userId=${admin.id}`), await listed(`userId=${bea.id}`)];
    const release = await holdRows(t.sql, 'select from role_grants for update');
    const requests = [
      t.request('DELETE', `/api/v1/grants/${ofBea[0]}`, { token: admin.token }),
      t.request('DELETE', `/api/v1/grants/${ofRoot[0]}`, { token: bea.token }),
    ];
    await untilWaiting(t.sql, 2);
    await release('select 1');
    const replies = await Promise.all(requests);
    expect(replies.map(({ status }) => status).sort()).toEqual([204, 409]);
    const rows = await t.sql`select count(*) as n from role_grants where role = 'admin'`;
    expect(rows[0]?.n).toBe(1);
  });
});

describe('a user group', () => {
  test('is created, changed, listed and deleted with its grants; its members stay', async () => {
    const ada = await t.user('ada', []);
    const group = await makeGroup('ops', [ada.id]);
    expect(group).toMatchObject({ name: 'ops', description: '', members: 1, grants: 0 });
    await grant({ userGroupId: group.id, role: 'viewer' });
    const changed = await t.call<UserGroup>('PUT', `user-groups/${group.id}`, admin.token, {
      description: 'Night shift',
    });
    expect(changed).toMatchObject({ name: 'ops', description: 'Night shift', members: 1, grants: 1 });
    const outdated = { name: 'devs', description: 'Day shift', expected: { name: 'ops', description: '' } };
    const refused = await t.call<ErrorBody>('PUT', `user-groups/${group.id}`, admin.token, outdated, 409);
    expect(refused.error.details).toEqual([
      { path: 'expected.description', found: '""', message: 'Is "Night shift" by now.' },
    ]);
    expect((await me(ada.token)).permissions).toEqual(['read', 'self']);
    const taken = await t.call<ErrorBody>('POST', 'user-groups', admin.token, { name: 'OPS' }, 409);
    expect(taken.error.details).toMatchObject([{ path: 'name' }]);
    const list = await t.call<{ items: UserGroup[] }>('GET', 'user-groups?search=OP', admin.token);
    expect(list.items).toEqual([changed]);
    await t.call('DELETE', `user-groups/${group.id}`, admin.token, undefined, 204);
    expect((await me(ada.token)).permissions).toEqual(['self']);
    await t.call('GET', `user-groups/${group.id}`, admin.token, undefined, 404);
    expect(await listed('role=viewer')).toEqual([]);
    expect((await t.audited()).slice(-2)).toMatchObject([
      {
        action: 'grant.deleted',
        detail: { role: 'viewer', subject: { name: 'ops' }, deletedWith: 'user_group' },
      },
      { action: 'user_group.deleted', detail: { grants: 1 } },
    ]);
  });

  test('gives its rights with membership and takes them back without it, at once', async () => {
    const ada = await t.user('ada', []);
    const group = await makeGroup('ops');
    await grant({ userGroupId: group.id, role: 'operator' });
    const member = `user-groups/${group.id}/members/${ada.id}`;
    expect((await me(ada.token)).permissions).toEqual(['self']);
    await t.call('PUT', member, admin.token, undefined, 204);
    await t.call('PUT', member, admin.token, undefined, 204);
    expect((await me(ada.token)).permissions).toContain('run');
    await t.call('DELETE', member, admin.token, undefined, 204);
    expect((await me(ada.token)).permissions).toEqual(['self']);
    await t.call('DELETE', member, admin.token, undefined, 404);
    await t.call('PUT', `user-groups/${group.id}/members/999`, admin.token, undefined, 404);
    await t.call('PUT', `user-groups/999/members/${ada.id}`, admin.token, undefined, 404);
    const told = (await t.audited()).filter(({ action }) => action.startsWith('user_group.member'));
    expect(told.map(({ action }) => action)).toEqual([
      'user_group.member_added',
      'user_group.member_removed',
    ]);
  });

  test('lists its members by name in pages', async () => {
    const ids = [await t.user('cy', []), await t.user('Al', []), await t.user('bo', [])].map(({ id }) => id);
    const group = await makeGroup('ops', ids);
    const page = (query: string) =>
      t.call<{ items: UserGroupMember[]; nextCursor: string | null }>(
        'GET',
        `user-groups/${group.id}/members?${query}`,
        admin.token,
      );
    const first = await page('limit=2');
    expect(first.items.map(({ name }) => name)).toEqual(['Al', 'bo']);
    const second = await page(`limit=2&cursor=${first.nextCursor}`);
    expect([second.items.map(({ name }) => name), second.nextCursor]).toEqual([['cy'], null]);
    await t.call('GET', 'user-groups/999/members', admin.token, undefined, 404);
  });

  test('has a unique name, and members that exist', async () => {
    await makeGroup('Ops');
    const other = await makeGroup('web');
    await t.call('POST', 'user-groups', admin.token, { name: 'ops' }, 409);
    await t.call('PUT', `user-groups/${other.id}`, admin.token, { name: 'OPS' }, 409);
    await t.call('POST', 'user-groups', admin.token, { name: 'x', memberIds: [999] }, 400);
    await t.call('PUT', 'user-groups/999', admin.token, {}, 404);
  });

  test('that holds more than the caller can’t be changed by them, nor its members', async () => {
    const { id, token } = await t.user('helpdesk', []);
    await grant({ userId: id, permission: 'people.edit' });
    const group = await makeGroup('ops', [admin.id]);
    await grant({ userGroupId: group.id, role: 'operator' });
    const path = `user-groups/${group.id}`;
    await t.call('PUT', path, token, { name: 'x' }, 403);
    await t.call('PUT', `${path}/members/${id}`, token, undefined, 403);
    await t.call('DELETE', `${path}/members/${admin.id}`, token, undefined, 403);
    await t.call('DELETE', path, token, undefined, 403);
    await t.call('POST', 'grants', token, { userGroupId: group.id, permission: 'people.edit' });
  });
});
