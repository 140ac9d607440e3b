import type { GroupEntry, TargetGroup } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { groupsSelecting, lostWithMembers, whyMember } from './group-words.ts';

const entry = (targetId: number, excluded: boolean): GroupEntry => ({
  targetId,
  name: `t${targetId}`,
  segmentId: 1,
  segmentName: 'dmz',
  excluded,
});

test('a member is either listed or selected by the selector', () => {
  const entries = [entry(1, false), entry(2, true)];
  expect(whyMember(1, entries)).toBe('listed');
  expect(whyMember(3, entries)).toBe('selected');
});

test('a group is used by those whose selector contains its whole name', () => {
  const groups = [
    { id: 1, name: 'all', selector: 'group:"Web servers" or group:db' },
    { id: 2, name: 'others', selector: '!group:db' },
    { id: 3, name: 'listed', selector: null },
  ] as TargetGroup[];
  expect(groupsSelecting('db', groups).map(({ name }) => name)).toEqual(['all', 'others']);
  expect(groupsSelecting('Web servers', groups).map(({ name }) => name)).toEqual(['all']);
  expect(groupsSelecting('Web', groups)).toEqual([]);
});

test('a group without members is not said to take something from them', () => {
  expect(lostWithMembers({ memberCount: 0 })).toBe('It has no members. Deleted with it:');
  expect(lostWithMembers({ memberCount: 1 })).toMatch(/^1 member stays a target, but loses/);
});
