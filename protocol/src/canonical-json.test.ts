import fc from 'fast-check';
import { expect, it } from 'vitest';
import { canonicalJson } from './canonical-json.ts';

it('writes properties sorted, without white space, in arrays their order', () => {
  expect(canonicalJson({ b: [2, 1, { d: null, c: true }], a: 'é"\n', 10: 1, 9: 2 })).toBe(
    '{"10":1,"9":2,"a":"é\\"\\n","b":[2,1,{"c":true,"d":null}]}',
  );
});

it('parses back to the same value, and does not depend on the order of properties', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const text = canonicalJson(value);
      const reread = JSON.parse(text);
      expect(canonicalJson(reread)).toBe(text);
      expect(reread).toEqual(JSON.parse(JSON.stringify(value)));
    }),
  );
});

it('keeps a property named __proto__', () => {
  expect(canonicalJson(JSON.parse('{"__proto__":{"a":1}}'))).toBe('{"__proto__":{"a":1}}');
});

it('leaves out undefined properties, as JSON does, and refuses what is not a JSON value', () => {
  expect(canonicalJson({ a: undefined, b: 1 })).toBe('{"b":1}');
  expect(() => canonicalJson(undefined)).toThrow(TypeError);
});
