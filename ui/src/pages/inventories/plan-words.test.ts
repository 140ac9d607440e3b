import { expect, test } from 'vitest';
import { applyWords, changeWords, doneWords, looksOf } from './plan-words.ts';

const counts = { create: 0, update: 0, unchanged: 0, gone: 0, conflict: 0, adopted: 0, forgottenHostKeys: 0 };

test('a change shows the old and the new value, and a new host only its new value', () => {
  expect(changeWords({ field: 'host', from: 'a', to: 'b' }, false)).toBe('host a → b');
  expect(changeWords({ field: 'port', from: 2222, to: null }, false)).toBe('port 2222 → none');
  expect(changeWords({ field: 'labels.canary', from: null, to: '' }, true)).toBe('label canary');
  expect(changeWords({ field: 'labels.canary', from: null, to: '' }, false)).toBe('label canary added');
  expect(changeWords({ field: 'labels.canary', from: '', to: null }, false)).toBe('label canary removed');
  expect(changeWords({ field: 'labels.env', from: 'prod', to: '' }, false)).toBe('label env prod → set');
  expect(changeWords({ field: 'settings.username', from: null, to: 'deploy' }, true)).toBe(
    'user name deploy',
  );
  expect(changeWords({ field: 'settings.connect_timeout', from: 10, to: 5 }, false)).toBe(
    'connect timeout 10 → 5',
  );
  expect(changeWords({ field: 'groups.web', from: true, to: null }, false)).toBe('removed from group web');
});

test('what was done includes what happened to the hosts that are gone', () => {
  expect(doneWords({ counts, gone: 'keep' })).toBe('nothing to do');
  expect(doneWords({ counts: { ...counts, create: 1200, gone: 2 }, gone: 'deactivate' })).toBe(
    '1,200 created, 2 gone, deactivated',
  );
});

test('an applied plan says what was done, and not what it would do', () => {
  const words = (plan: Parameters<typeof looksOf>[0]) => {
    const { create, update, gone, unchanged } = looksOf(plan);
    return [create, update, gone, unchanged].map(({ word }) => word);
  };
  const appliedAt = '2026-12-01T19:04:26Z';
  expect(words({ appliedAt: null, gone: null })).toEqual(['create', 'update', 'gone', 'unchanged']);
  expect(words({ appliedAt, gone: 'keep' })).toEqual(['created', 'updated', 'gone, kept', 'unchanged']);
  expect(words({ appliedAt, gone: 'delete' })).toEqual(['created', 'updated', 'deleted', 'unchanged']);
});

test('the button says how many targets will change', () => {
  const some = { counts: { ...counts, create: 3, update: 1, gone: 2 } };
  expect(applyWords(some, 'keep')).toBe('Apply to 4 targets');
  expect(applyWords(some, 'delete')).toBe('Apply to 6 targets');
  expect(applyWords({ counts }, 'keep')).toBe('Apply: nothing changes');
});
