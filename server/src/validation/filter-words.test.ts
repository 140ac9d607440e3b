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
    /^query\.createdAfter: Is not a date or time\. Allowed: 2026-/,
  );
});
