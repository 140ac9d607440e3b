import fc from 'fast-check';
import { expect, test } from 'vitest';
import { valueAt } from './json-pointer.ts';

test.each([
  ['{"a": {"b": ["x", {"c": "v"}]}}', '/a/b/1/c', 'v'],
  ['"whole"', '', 'whole'],
  ['  [ 1 , 2 ]  ', '', '[1,2]'],
  ['{"": {"": "empty"}}', '//', 'empty'],
  ['{"a/b": {"c~d": "slash"}}', '/a~1b/c~0d', 'slash'],
  ['{"n": 12345678901234567890, "e": 1.50e+2}', '/n', '12345678901234567890'],
  ['{"n": 1, "e": 1.50e+2}', '/e', '1.50e+2'],
  ['{"t": true, "o": { "k\\"" : [ 1, " a b " ] } }', '/o', '{"k\\"":[1," a b "]}'],
  ['{"s": "\\u00e4\\n\\"}{]["}', '/s', 'ä\n"}{]['],
  ['{"a": 1, "a": 2}', '/a', '2'],
  ['{"\\u0061": "escaped name"}', '/a', 'escaped name'],
  ['{"__proto__": "own"}', '/__proto__', 'own'],
])('%s at %s is %s', (json, pointer, value) => {
  expect(valueAt(json, pointer)).toBe(value);
});

test.each([
  ['{"a": null}', '/a'],
  ['{"a": 1}', '/b'],
  ['{"a": 1}', '/a/b'],
  ['{}', '/toString'],
  ['[1, 2]', '/2'],
  ['[1, 2]', '/01'],
  ['[1, 2]', '/-'],
  ['[1, 2]', '/length'],
  ['"text"', '/0'],
])('in %s nothing is at %s', (json, pointer) => {
  expect(valueAt(json, pointer)).toBeUndefined();
});

test('a value nested as deep as the limit allows needs no stack', () => {
  const depth = 400_000;
  const json = `{"deep":${'['.repeat(depth)}${']'.repeat(depth)},"x":"found"}`;
  expect(valueAt(json, '/x')).toBe('found');
  expect(valueAt(json, '/deep')?.length).toBe(2 * depth);
});

test('every value of every JSON text is found as its parser finds it', () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.nat(4), (value, indent) => {
      const json = JSON.stringify(value, null, indent);
      const visit = (inner: unknown, pointer: string) => {
        const found = valueAt(json, pointer);
        if (typeof inner === 'string') expect(found).toBe(inner);
        else if (inner === null) expect(found).toBeUndefined();
        else expect(JSON.parse(found ?? '')).toEqual(JSON.parse(JSON.stringify(inner)));
        if (typeof inner !== 'object' || inner === null) return;
        for (const [name, each] of Object.entries(inner))
          visit(each, `${pointer}/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`);
      };
      visit(JSON.parse(json), '');
    }),
  );
});
