import { expect, test } from 'vitest';
import { applyWords, changeWords, doneWords } from './plan-words.ts';

const counts = { create: 0, update: 0, unchanged: 0, gone: 0, conflict: 0, adopted: 0, forgottenHostKeys: 0 };

test('a change shows the old and the new value, and a new host only its new value', () => {
  expect(changeWords({ field: 'host', from: 'a', to: 'b' }, false)).toBe('host a → b');
  expect(changeWords({ field: 'port', from: 2222, to: null }, false)).toBe('port 2222 → none');
  expect(changeWords({ field: 'labels.canary', from: null, to: '' }, true)).toBe('labels.canary set');
  expect(changeWords({ field: 'groups.web', from: true, to: null }, false)).toBe('removed from group web');
});

test('what was done includes what happened to the hosts that are gone', () => {
  expect(doneWords({ counts, gone: 'keep' })).toBe('nothing to do');
  expect(doneWords({ counts: { ...counts, create: 1200, gone: 2 }, gone: 'deactivate' })).toBe(
    '1,200 created, 2 gone, deactivated',
  );
});

test('the button says how many targets will change', () => {
  const some = { counts: { ...counts, create: 3, update: 1, gone: 2 } };
  expect(applyWords(some, 'keep')).toBe('Apply to 4 targets');
  expect(applyWords(some, 'delete')).toBe('Apply to 6 targets');
  expect(applyWords({ counts }, 'keep')).toBe('Apply: nothing changes');
});
