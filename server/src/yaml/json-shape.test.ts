import { describe, expect, it } from 'vitest';
import { turnsDuring } from '../testing.ts';
import { jsonShape } from './json-shape.ts';

describe('the shape of JSON', () => {
  it.each([
    ['names in objects of their own', '{"a":{"a":1},"b":[{"a":1},{"a":1}]}'],
    ['texts that look like names', '{"a":"b","b":["a","a"],"c":"\\"a\\":"}'],
    ['names that differ by case alone', '{"a":1,"A":1}'],
    ['names of prototypes', '{"__proto__":1,"constructor":2}'],
    ['a value alone', '"a"'],
  ])('is accepted with %s', async (_, text) => {
    expect(await jsonShape(text, 64)).toBe('sound');
  });

  it.each([
    ['twice', '{"a":1,"b":2,"a":3}'],
    ['in a list of objects', '[{"a":1},{"b":1,"b":2}]'],
    ['after an object in between', '{"a":{"b":1},"a":2}'],
    ['in another spelling', '{"a":1,"\\u0061":2}'],
    ['with space before the colon', '{"a" :1,"a"\n\t:2}'],
  ])('has a name that occurs %s', async (_, text) => {
    expect(await jsonShape(text, 64)).toBe('repeated_name');
  });

  it('is too deep if it has more than the given number of levels, not counting brackets in strings', async () => {
    expect(await jsonShape(`${'['.repeat(65)}${']'.repeat(65)}`, 64)).toBe('too_deep');
    expect(await jsonShape(`["${'['.repeat(100)}"]`, 64)).toBe('sound');
  });
});

it('other work gets its turn while a long text is looked at', async () => {
  const text = JSON.stringify(Array.from({ length: 400_000 }, (_, n) => ({ n })));
  const { result, turns } = await turnsDuring(() => jsonShape(text, 64));
  expect(result).toBe('sound');
  expect(turns).toBeGreaterThanOrEqual(8);
});
