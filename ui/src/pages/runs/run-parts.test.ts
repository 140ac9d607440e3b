import { expect, it } from 'vitest';
import { makeRun } from '../../../dev/run-fixtures.ts';
import { partsOf, troubleOf } from './run-parts.ts';

const named = (at: number) => `host-${at}`;

it('what needs a person is told apart by more than color, the most urgent first', () => {
  const { run } = makeRun(
    1,
    0,
    { succeeded: 3, timed_out: 1, failed: 2, unknown: 4, held: 5, running: 6 },
    named,
  );
  expect(troubleOf(run).map(({ status, hosts }) => `${hosts} ${status}`)).toEqual([
    '4 unknown',
    '5 held',
    '2 failed',
    '1 timed_out',
  ]);
});

it('a run without trouble says nothing of it, and its bar has all hosts', () => {
  const { run } = makeRun(1, 0, { succeeded: 3, queued: 2, running: 6, cancelled: 1 }, named);
  expect(troubleOf(run)).toEqual([]);
  expect(partsOf(run).reduce((sum, { hosts }) => sum + hosts, 0)).toBe(12);
});
