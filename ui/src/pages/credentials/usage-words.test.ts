import type { CredentialUsage } from '@opsconductor/protocol';
import { expect, it } from 'vitest';
import { isUsed, keepersOf } from './usage-words.ts';

const none = { total: 0, items: [] };
const usage = (fields: Partial<CredentialUsage>): CredentialUsage => ({
  targets: none,
  groups: none,
  segment: false,
  jobs: none,
  ...fields,
});
const credential = { targetCount: 0, segmentName: 'dmz' };

it('what keeps a credential from being deleted is named: targets, groups and its segment, including those that are not visible', () => {
  expect(keepersOf(credential, usage({}))).toBe('');
  expect(keepersOf(credential, usage({ segment: true }))).toBe('segment dmz');
  expect(keepersOf({ ...credential, targetCount: 1 }, usage({}))).toBe('1 target');
  const all = usage({
    targets: { total: 3, items: [] },
    groups: { total: 2, items: [] },
    segment: true,
  });
  expect(keepersOf({ ...credential, targetCount: 4 }, all)).toBe('4 targets, 2 groups and segment dmz');
});

it('jobs that ask for it by name use it, but do not keep it from being deleted', () => {
  const asked = usage({ jobs: { total: 1, items: [{ id: 7, name: 'Rotate logs' }] } });
  expect(isUsed(asked)).toBe(true);
  expect(keepersOf(credential, asked)).toBe('');
  expect(isUsed(usage({}))).toBe(false);
});
