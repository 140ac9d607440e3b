import { describe, expect, it } from 'vitest';
import {
  cellDuration,
  clockDuration,
  growingDuration,
  lineTime,
  longDuration,
  roundDuration,
  tookDuration,
} from './duration.ts';
import { ago, clockTime, dayOf, fullMoment, moment, until, withMoments } from './moment.ts';
import { byteSize, count, counted, percent } from './quantity.ts';
import { compareStatus, isLoud, statusWord } from './status.ts';

const now = Date.parse('2026-11-24T02:27:12.000Z');

describe('durations', () => {
  it.each([
    [37, '37 ms'],
    [2_100, '2.1 s'],
    [9_960, '10 s'],
    [18_400, '18 s'],
    [59_600, '1:00'],
    [184_000, '3:04'],
    [3_723_000, '1:02:03'],
    [-5, '0 ms'],
  ])('in a cell: %i ms is %s', (ms, text) => expect(cellDuration(ms)).toBe(text));

  it.each([
    [41_000, '41 s'],
    [785_000, '13 min 05 s'],
    [300_000, '5 min'],
    [7_560_000, '2 h 06 min'],
    [93_600_000, '1 d 2 h'],
  ])('in words: %i ms is %s', (ms, text) => expect(longDuration(ms)).toBe(text));

  it.each([
    [37, '37 ms'],
    [420, '0.4 s'],
    [41_000, '41 s'],
    [59_600, '1 min'],
    [785_000, '13 min 05 s'],
  ])('of what has ended: %i ms is %s, never 0 s', (ms, text) => expect(tookDuration(ms)).toBe(text));

  it.each([
    [41_000, '41 s'],
    [60_000, '1 min 00 s'],
    [785_000, '13 min 05 s'],
    [3_599_400, '59 min 59 s'],
    [3_600_000, '1 h 00 min'],
    [7_230_000, '2 h 00 min'],
    [7_560_000, '2 h 06 min'],
    [86_400_000, '1 d'],
  ])('of what goes on, as wide at a full minute: %i ms is %s', (ms, text) =>
    expect(growingDuration(ms)).toBe(text),
  );

  it('like a stopwatch, rounded, and beside an output line', () => {
    expect(clockDuration(641_000)).toBe('10:41');
    expect(roundDuration(4_320_000)).toBe('1 h 12 min');
    expect(roundDuration(40_400)).toBe('40 s');
    expect(lineTime(8_290)).toBe('0:08.2');
    expect(lineTime(184_000)).toBe('3:04.0');
    expect(lineTime(3_661_000)).toBe('1:01:01');
  });
});

describe('moments, in UTC', () => {
  it('show the time if today, otherwise the day, too', () => {
    expect(clockTime(now)).toBe('02:27:12');
    expect(moment('2026-11-24T00:00:00.000Z', now)).toBe('00:00:00');
    expect(moment('2026-11-23T23:59:59.000Z', now)).toBe('23 Nov 23:59');
    expect(moment('2025-10-12T10:00:00.000Z', now)).toBe('12 Oct 2025 10:00');
    expect(fullMoment(now)).toBe('24 Nov 2026, 02:27:12 UTC');
  });

  it('as a day have the year only if it is another one', () => {
    expect([dayOf('2026-11-09', now), dayOf('2025-11-09', now)]).toEqual(['9 Nov', '9 Nov 2025']);
  });

  it.each([
    [1_000, 'now'],
    [59_600, '59 s ago'],
    [13 * 60_000 + 5, '13 min ago'],
    [2 * 3_600_000, '2 h ago'],
    [25 * 3_600_000, 'yesterday'],
    [43 * 86_400_000, '12 Oct'],
    [400 * 86_400_000, '20 Oct 2025'],
  ])('%i ms ago is %s', (past, text) => expect(ago(now - past, now)).toBe(text));

  it('in the future show how long until then', () => {
    expect(until(now + 57 * 60_000, now)).toBe('in 57 min');
    expect(until(now - 1, now)).toBe('now');
  });

  it('in a text from the server look as elsewhere in the console', () => {
    expect(withMoments('Not taken since 2026-11-24T02:14:07.879Z. Version 2026-11-24 is in use.')).toBe(
      'Not taken since 24 Nov 2026, 02:14:07 UTC. Version 2026-11-24 is in use.',
    );
    const typed = 'The value “2026-11-24T02:14:07Z” is not allowed.';
    expect(withMoments(typed)).toBe(typed);
  });
});

describe('quantities', () => {
  it.each([
    [312, '312 B'],
    [9_400, '9.4 kB'],
    [999_600, '1.0 MB'],
    [200_000_000, '200 MB'],
  ])('%i bytes are %s', (bytes, text) => expect(byteSize(bytes)).toBe(text));

  it.each([
    [1, '100 %'],
    [2499 / 2500, '99.9 %'],
    [0.9, '90 %'],
    [1 / 3, '33.3 %'],
    [1 / 2500, '0.1 %'],
    [0, '0 %'],
  ])('a share of %f is %s', (share, text) => expect(percent(share)).toBe(text));

  it('have separators and plurals', () => {
    expect(count(1842)).toBe('1,842');
    expect(counted(1, 'host')).toBe('1 host');
    expect(counted(2_400, 'host is', 'hosts are')).toBe('2,400 hosts are');
  });
});

describe('states', () => {
  it('list trouble first, and only trouble is loud', () => {
    const order = (['succeeded', 'queued', 'failed', 'running', 'unknown', 'held'] as const).toSorted(
      compareStatus,
    );
    expect(order).toEqual(['unknown', 'held', 'failed', 'running', 'queued', 'succeeded']);
    expect(order.filter(isLoud)).toEqual(['unknown', 'held', 'failed']);
    expect(statusWord('timed_out')).toBe('timed out');
  });
});
