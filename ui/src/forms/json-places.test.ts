import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { JsonError, lineOf, nearestPlace, readJson } from './json-places.ts';

const text = `{
  "name": "Patch",
  "steps": [
    { "name": "apply", "config": { "timeout": 0 } }
  ]
}`;

describe('a definition as JSON', () => {
  it('gives the value and the place of everything in it', () => {
    const { value, places } = readJson(text);
    expect(value).toEqual(JSON.parse(text));
    const place = places.get('steps[0].config.timeout');
    expect(text.slice(place?.from, place?.to)).toBe('0');
    expect(lineOf(text, place?.from ?? 0)).toEqual({ line: 4, column: 47 });
  });

  it('finds the nearest place for what is missing', () => {
    const { places } = readJson(text);
    expect(nearestPlace(places, 'steps[0].config.command')).toEqual(places.get('steps[0].config'));
    expect(nearestPlace(places, 'steps[3]')).toEqual(places.get('steps'));
    expect(nearestPlace(places, 'start_within')).toEqual(places.get(''));
  });

  it.each([
    ['{"a": 1,}', 8, /property name/],
    ['{"a" 1}', 5, /colon/],
    ['{"a": [1 2]}', 9, /comma or \]/],
    ['{"a": yes}', 6, /double quotes/],
    ['{"a": "x\ny"}', 8, /\\n/],
    ['{"a": "x', 6, /does not end/],
    ['{"a": 1} x', 9, /follow/],
    ['{"a": 1, "a": 2}', 9, /twice/],
    ['', 0, /too early/],
  ])('refuses %s at its place', (wrong, at, message) => {
    let error: unknown;
    try {
      readJson(wrong);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(JsonError);
    expect((error as JsonError).at).toBe(at);
    expect((error as JsonError).message).toMatch(message);
  });

  it('reads whatever JSON.stringify writes', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const written = JSON.stringify(value, null, 2);
        expect(readJson(written).value).toEqual(JSON.parse(written));
      }),
    );
  });

  it('takes __proto__ for a name like any other', () => {
    const { value } = readJson('{"__proto__": {"x": 1}}');
    expect(Object.getPrototypeOf(value)).toBe(Object.prototype);
    expect(Object.keys(value as object)).toEqual(['__proto__']);
  });
});
