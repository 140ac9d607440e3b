import { expect, test } from 'vitest';
import { expiryOf } from './expiry.ts';

const now = Date.parse('2026-11-27T23:30:00Z');

test.each([
  [null, undefined],
  ['2026-12-28', undefined],
  ['2026-12-27', 'expires in 30 days'],
  ['2026-11-28', 'expires in 1 day'],
  ['2026-11-27', 'expires today'],
  ['2026-11-26', 'expired 1 day ago'],
  ['2026-10-28', 'expired 30 days ago'],
])('a secret with the last day %s is described as %s', (day, word) => {
  expect(expiryOf(day, now)?.word).toBe(word);
});
