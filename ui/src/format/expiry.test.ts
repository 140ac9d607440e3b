import { expect, test } from 'vitest';
import { expiriesOf, expiryOf, lastWarnedDay } from './expiry.ts';

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

test('the last day that asks for attention is the last one that is described', () => {
  expect(lastWarnedDay(now)).toBe('2026-12-27');
});

test.each([
  [[null, '2026-12-28'], undefined],
  [['2026-12-27'], '1 expires within 30 days'],
  [['2026-12-27', '2026-11-27'], '2 expire within 30 days'],
  [['2026-11-26'], '1 expired'],
  [['2026-11-26', '2026-11-27', null], '1 expired, 1 expires within 30 days'],
])('of several, %j, those that ask for attention are counted: %s', (days, word) => {
  expect(expiriesOf(days, now)?.word).toBe(word);
});

test('where not all were read, the count says so', () => {
  expect(expiriesOf(['2026-11-26', '2026-11-27'], now, true)?.word).toBe(
    '1 expired, 1+ expire within 30 days',
  );
  expect(expiriesOf(['2026-11-26'], now, true)?.word).toBe('1+ expired');
});
