import { expect, test } from 'vitest';
import { readTime, readWords } from './filter-words.ts';

test('each word is taken once, without the spaces around it', () => {
  expect(readWords('failed, held,failed', ['held', 'failed'], 'query.status')).toEqual(['failed', 'held']);
});

test('an unknown word is refused, naming its field and the known words', () => {
  expect(() => readWords('held,foo', ['held', 'failed'], 'query.status')).toThrow(
    expect.objectContaining({
      code: 'invalid',
      message: 'query.status: Is not one of the allowed values. Allowed: held, failed.',
      details: [expect.objectContaining({ path: 'query.status', found: 'foo', allowed: 'held, failed' })],
    }),
  );
});

test('a value that is not a time is refused, naming its field and showing what a time looks like', () => {
  expect(readTime(undefined, 'query.createdAfter')).toBeUndefined();
  expect(() => readTime('yesterday', 'query.createdAfter')).toThrow(
    /^query\.createdAfter: Is not a date or time that exists\. Allowed: 2026-/,
  );
});

test.each([
  ['2026-11-25', '2026-11-25T00:00:00.000Z'],
  ['2026-11-25T08:00Z', '2026-11-25T08:00:00.000Z'],
  ['2026-11-25T08:00:00.25+02:00', '2026-11-25T06:00:00.250Z'],
  ['0001-01-01', '0001-01-01T00:00:00.000Z'],
  ['9999-12-31T23:59:59Z', '9999-12-31T23:59:59.000Z'],
])('%s is a time', (text, moment) => {
  expect(readTime(text, 'query.from')?.toISOString()).toBe(moment);
});

test.each([
  ['a day that does not exist', '2027-02-30'],
  ['a time of such a day', '2027-02-30T00:00:00Z'],
  ['a year before the first', '0000-01-01'],
  ['an offset that leads before the first year', '0001-01-01T00:00:00+14:00'],
  ['an offset that leads beyond the last year', '9999-12-31T23:59:59-14:00'],
  ['a leap second', '2026-06-30T23:59:60Z'],
  ['a time without an offset, which depends on the server', '2026-11-25T08:00:00'],
])('%s is refused: %s', (_, text) => {
  expect(() => readTime(text, 'query.from')).toThrow('query.from: Is not a date or time that exists.');
});
