import { expect, test } from 'vitest';
import { readTime, readWords } from './filter-words.ts';

test('words are taken once each, without the spaces around them', () => {
  expect(readWords('failed, held,failed', ['held', 'failed'], 'query.status')).toEqual(['failed', 'held']);
});

test('a word that there is not is refused with its field and those that there are', () => {
  expect(() => readWords('held,foo', ['held', 'failed'], 'query.status')).toThrow(
    expect.objectContaining({
      code: 'invalid',
      message: 'query.status: Is none of those that there are. Allowed: held, failed.',
      details: [expect.objectContaining({ path: 'query.status', found: 'foo', allowed: 'held, failed' })],
    }),
  );
});

test('what is no time is refused with its field and what one looks like', () => {
  expect(readTime(undefined, 'query.createdAfter')).toBeUndefined();
  expect(() => readTime('yesterday', 'query.createdAfter')).toThrow(
    /^query\.createdAfter: Is no date or time\. Allowed: 2026-/,
  );
});
