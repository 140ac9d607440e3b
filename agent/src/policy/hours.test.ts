import { expect, test } from 'vitest';
import { hoursText, isWithin } from './hours.ts';
import type { Hours } from './policy-schema.ts';

const nights: Hours = {
  timezone: 'Europe/Berlin',
  windows: [{ days: ['fri'], from: '22:00', to: '06:00' }],
};

// 2026-03-27 is a Friday; clocks in Berlin go forward on the following Sunday.
test.each([
  ['2026-03-27T20:59:00Z', false],
  ['2026-03-27T21:00:00Z', true],
  ['2026-03-28T04:59:59Z', true],
  ['2026-03-28T05:00:00Z', false],
  ['2026-03-28T21:30:00Z', false],
  // In summer, one hour earlier in UTC.
  ['2026-07-03T20:00:00Z', true],
  ['2026-07-04T04:00:00Z', false],
])('a window over midnight belongs to the day on which it begins: %s', (at, isOpen) => {
  expect(isWithin(nights, new Date(at))).toBe(isOpen);
});

test('a window without days applies every day, and may last all day', () => {
  const always: Hours = { timezone: 'UTC', windows: [{ from: '00:00', to: '24:00' }] };
  for (const at of ['2026-03-27T00:00:00Z', '2026-03-29T23:59:59Z'])
    expect(isWithin(always, new Date(at))).toBe(true);
  expect(hoursText(always)).toBe('00:00-24:00 (UTC)');
  expect(hoursText(nights)).toBe('fri 22:00-06:00 (Europe/Berlin)');
});
