import { expect, test } from 'vitest';
import { Authority, type Grant } from './authority.ts';

const segment = (id: number) => ({ kind: 'segment', id }) as const;
const operator = (scope: Grant['scope']): Grant => ({ role: 'operator', permission: null, scope });

test('a role granted on a scope applies there and not everywhere', () => {
  const authority = new Authority([operator(segment(7))]);
  expect(authority.holdsSomewhere('run')).toBe(true);
  expect(authority.holdsEverywhere('run')).toBe(false);
  expect(authority.holdsOnSegment('run', 7)).toBe(true);
  expect(authority.holdsOnSegment('run', 8)).toBe(false);
  expect(authority.holdsOnCategory('run', 7)).toBe(false);
});

test('grants add up, and one everywhere covers the others', () => {
  const two = new Authority([operator(segment(1)), operator({ kind: 'category', id: 2 })]);
  expect(two.reach('run')).toEqual([
    { everywhere: false, categoryIds: [2], segmentIds: [1], targetGroupIds: [] },
  ]);
  const all = new Authority([operator(segment(1)), operator(null)]);
  expect(all.holdsEverywhere('run')).toBe(true);
});

test('a single permission can be granted in addition to roles', () => {
  const authority = new Authority([
    operator(null),
    { role: null, permission: 'host_keys.approve', scope: segment(3) },
  ]);
  expect(authority.holdsOnSegment('host_keys.approve', 3)).toBe(true);
  expect(authority.holdsEverywhere('host_keys.approve')).toBe(false);
});

test('a request with an API token may do only what both the token and its user may', () => {
  const authority = new Authority([operator(null), operator(segment(1))], {
    permissions: ['read'],
    scopes: [segment(4)],
  });
  expect(authority.holdsSomewhere('run')).toBe(false);
  expect(authority.holdsOnSegment('read', 4)).toBe(true);
  expect(authority.holdsOnSegment('read', 1)).toBe(false);
  expect(authority.holdsEverywhere('read')).toBe(false);
});

test('a restricted API token cannot touch its user’s account, so it cannot create a wider one', () => {
  const admin: Grant = { role: 'admin', permission: null, scope: null };
  expect(new Authority([admin]).holdsEverywhere('self')).toBe(true);
  expect(new Authority([]).holdsEverywhere('self')).toBe(true);
  for (const bounds of [
    { permissions: ['read' as const], scopes: null },
    { permissions: null, scopes: [segment(1)] },
  ]) {
    expect(new Authority([admin], bounds).holdsEverywhere('self')).toBe(false);
  }
});

test('a token whose list of scopes is empty may do nothing', () => {
  const authority = new Authority([operator(null)], { permissions: null, scopes: [] });
  expect([...authority.permissions()]).toEqual([]);
});

test('a role on a scope gives only permissions that have a meaning there', () => {
  const admin = (scope: Grant['scope']): Grant => ({ role: 'admin', permission: null, scope });
  const onCategory = new Authority([admin({ kind: 'category', id: 1 })]).permissions();
  const onGroup = new Authority([admin({ kind: 'target_group', id: 1 })]).permissions();
  const onSegment = new Authority([admin(segment(1))]).permissions();
  expect([...onCategory].sort()).toEqual(
    ['audit.read', 'jobs.edit', 'jobs.raw_splice', 'read', 'run', 'runs.purge', 'self'].sort(),
  );
  expect(onGroup.has('targets.edit')).toBe(true);
  expect(onGroup.has('segments.edit')).toBe(false);
  expect(onSegment.has('segments.edit')).toBe(true);
  expect(onSegment.has('jobs.edit')).toBe(false);
  expect(onSegment.has('people.edit')).toBe(false);
});

test('nobody grants what they do not hold, or where they do not hold it', () => {
  const author = new Authority([{ role: 'author', permission: null, scope: null }]);
  expect(author.firstBeyond([operator(null), operator(segment(1))])).toBeUndefined();
  expect(author.firstBeyond([{ role: 'admin', permission: null, scope: segment(1) }])).toEqual({
    permission: 'targets.edit',
    scope: segment(1),
  });
  const local = new Authority([operator(segment(1))]);
  expect(local.firstBeyond([operator(segment(1))])).toBeUndefined();
  expect(local.firstBeyond([operator(segment(2))])).toEqual({ permission: 'read', scope: segment(2) });
  expect(local.firstBeyond([operator(null)])).toEqual({ permission: 'read', scope: null });
});

test('a restricted API token grants no more than it may do itself', () => {
  const admin: Grant = { role: 'admin', permission: null, scope: null };
  const bounded = new Authority([admin], { permissions: ['people.edit', 'read'], scopes: null });
  expect(bounded.firstBeyond([{ role: 'viewer', permission: null, scope: null }])).toBeUndefined();
  expect(bounded.firstBeyond([operator(null)])).toMatchObject({ permission: 'run' });
});

test('grants and API tokens on a category also apply to those below it', () => {
  const scope = { kind: 'category', id: 1 } as const;
  const granted: Grant = { role: 'author', permission: null, scope, categoryIds: [1, 2, 3] };
  const authority = new Authority([granted]);
  expect(authority.holdsOnCategory('jobs.edit', 3)).toBe(true);
  expect(authority.holdsOnCategory('jobs.edit', 4)).toBe(false);
  expect(authority.firstBeyond([{ ...granted, scope: { kind: 'category', id: 2 } }])).toBeUndefined();
  const bounded = new Authority([granted], {
    permissions: null,
    scopes: [{ kind: 'category', id: 2 }, segment(9)],
    categoryIds: [2, 3],
  });
  expect(bounded.holdsOnCategory('jobs.edit', 3)).toBe(true);
  expect(bounded.holdsOnCategory('jobs.edit', 1)).toBe(false);
});
