import type { JobImportItem } from '@opsconductor/protocol';
import { expect, it } from 'vitest';
import { applyWords, changedFields, countWords, itemSummary, withoutPlace } from './import-words.ts';

const none = { create: 0, update: 0, unchanged: 0, skip: 0, conflict: 0 };

it('the button says what it does', () => {
  expect(applyWords({ ...none, create: 1200, update: 3 })).toBe('Create 1,200 jobs, update 3');
  expect(applyWords({ ...none, create: 1 })).toBe('Create 1 job');
  expect(applyWords({ ...none, update: 2, unchanged: 9 })).toBe('Update 2 jobs');
  expect(applyWords({ ...none, unchanged: 9 })).toBe('Nothing to apply');
});

it('a problem does not say the place again that stands beside it', () => {
  const message = 'Line 8, column 1: This is not indented as what it belongs to.';
  expect(withoutPlace({ message, line: 8 })).toBe('This is not indented as what it belongs to.');
  expect(withoutPlace({ message })).toBe(message);
});

it('a plan is summed up by its counts, trouble first', () => {
  expect(countWords({ ...none, create: 12, conflict: 1 })).toBe('1 in conflict, 12 to create');
  expect(countWords(none)).toBe('no jobs');
  expect(countWords({ ...none, create: 12, update: 1, skip: 2 }, true)).toBe(
    '12 created, 1 updated, 2 left as they are',
  );
});

it('a job is summed up by its conflict, or by what differs', () => {
  const item = {
    action: 'update',
    conflict: null,
    changes: [{ path: 'timeout' }],
  } as unknown as JobImportItem;
  expect(itemSummary(item)).toBe('timeout');
  expect(itemSummary({ ...item, conflict: { reason: 'exists', message: 'It is there.' } })).toBe(
    'It is there.',
  );
  expect(changedFields(['a', 'b', 'a', 'c', 'd', 'e', 'f'].map((path) => ({ path })))).toBe(
    'a, b, c, d and 2 more',
  );
});
