import { expect, test } from 'vitest';
import { daysOf } from './days.ts';

test('every day of the span is there, with its runs or none', () => {
  const byDay = [{ day: '2026-11-24', runs: 3, succeeded: 2, failed: 1, p50Ms: 900 }];
  const days = daysOf({ days: 2, since: '2026-11-23T10:00:00.000Z', byDay });
  expect(days.map(({ day, runs }) => [day, runs])).toEqual([
    ['2026-11-23', 0],
    ['2026-11-24', 3],
    ['2026-11-25', 0],
  ]);
});
