import { expect, test } from 'vitest';
import { Authority, type Grant } from './authority.ts';

const segment = (id: number) => ({ kind: 'segment', id }) as const;
const operator = (scope: Grant['scope']): Grant => ({ role: 'operator', permission: null, scope });

test('a role granted on a scope holds there and not everywhere', () => {
  const authority = new Authority([operator(segment(7))]);
  expect(authority.holdsSomewhere('run')).toBe(true);
  expect(authority.holdsEverywhere('run')).toBe(false);
  expect(authority.holdsOnSegment('run', 7)).toBe(true);
  expect(authority.holdsOnSegment('run', 8)).toBe(false);
  expect(authority.holdsOnCategory('run', 7)).toBe(false);
});

test('grants add up, and one that is everywhere covers the rest', () => {
  const two = new Authority([operator(segment(1)), operator({ kind: 'category', id: 2 })]);
  expect(two.reach('run')).toEqual([
    { everywhere: false, categoryIds: [2], segmentIds: [1], targetGroupIds: [] },
  ]);
  const all = new Authority([operator(segment(1)), operator(null)]);
  expect(all.holdsEverywhere('run')).toBe(true);
});

test('a single permission can be granted beside roles', () => {
  const authority = new Authority([
    operator(null),
    { role: null, permission: 'host_keys.approve', scope: segment(3) },
  ]);
  expect(authority.holdsOnSegment('host_keys.approve', 3)).toBe(true);
  expect(authority.holdsEverywhere('host_keys.approve')).toBe(false);
});

test('an API token leaves its user no more than both allow', () => {
  const authority = new Authority([operator(null), operator(segment(1))], {
    permissions: ['read'],
    scopes: [segment(4)],
  });
  expect(authority.holdsSomewhere('run')).toBe(false);
  expect(authority.holdsOnSegment('read', 4)).toBe(true);
  expect(authority.holdsOnSegment('read', 1)).toBe(false);
  expect(authority.holdsEverywhere('read')).toBe(false);
});

test('an API token with bounds cannot touch its user’s account, so it cannot make itself a wider one', () => {
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
