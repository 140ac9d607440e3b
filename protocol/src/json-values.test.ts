import { expect, test } from 'vitest';
import { firstRepeated, isEqualJson } from './json-values.ts';
import { checkBySchema } from './schema-check.ts';

test('values are equal whatever the order of their properties', () => {
  expect(isEqualJson({ a: [1, { b: 2, c: null }] }, { a: [1, { c: null, b: 2 }] })).toBe(true);
  expect(isEqualJson([1, 2], [2, 1])).toBe(false);
  expect(isEqualJson(null, {})).toBe(false);
  expect(firstRepeated([1, { a: 1, b: 2 }, { b: 2, a: 1 }])).toEqual({ i: 2, j: 1 });
});

test.each([
  [{ a: 1 }, '{"a":1}'],
  [null, 'null'],
  [[1], '[1]'],
  [1, '1'],
])('%j and the text %j are two different items', (value, text) => {
  expect(isEqualJson(value, text)).toBe(false);
  expect(firstRepeated([value, text])).toBeUndefined();
  expect(checkBySchema({ type: 'array', uniqueItems: true }, [value, text])).toEqual([]);
});
