import { expect, it, test } from 'vitest';
import { readYamlValue } from './read-yaml-value.ts';

const limits = { maxTokens: 100, maxValues: 1_000, maxRepeated: 1_000, maxDepth: 8 };

it('a value that is too large or nested too deep is reported with the place where it becomes so', () => {
  const long = `list:\n${Array.from({ length: 40 }, (_, n) => `  - "item ${n}"\n`).join('')}`;
  const [tooLong] = (readYamlValue(long, limits) as { problems: { line: number; column: number }[] })
    .problems;
  const line = long.split('\n')[(tooLong?.line ?? 0) - 1] ?? '';
  expect(tooLong).toMatchObject({ message: expect.stringMatching(/more than 100 parts of YAML/) });
  expect(tooLong?.line).toBeGreaterThan(15);
  expect(tooLong?.line).toBeLessThan(40);
  expect(tooLong?.column).toBeLessThanOrEqual(line.length + 1);
  const deep = `first: "quoted"\nsecond: ${'['.repeat(30)}`;
  expect(readYamlValue(deep, limits)).toMatchObject({ problems: [{ line: 2, column: 24 }] });
});

const long = 'x'.repeat(1_000);
const times = (count: number, line: (n: number) => string) =>
  Array.from({ length: count }, (_, n) => line(n)).join('\n');

test.each<[string, string, (n: number) => string]>([
  ['a text', `a: &a ${long}`, (n) => `k${n}: *a`],
  ['a text in a list', `a: &a [1, ${long}]`, (n) => `k${n}: *a`],
  ['a key of a map', `a: &a { ${long}: 1 }`, (n) => `k${n}: *a`],
  ['a text that is a key', `a: &a ${long}`, (n) => `k${n}: { *a : 1 }`],
])('aliases repeat %s as often as a text could say it, and no more', (_, anchor, line) => {
  expect(readYamlValue(`${anchor}\n${times(1_000, line)}`)).toHaveProperty('value');
  expect(readYamlValue(`${anchor}\n${times(1_001, line)}`)).toMatchObject({
    problems: [
      { message: expect.stringContaining('Its aliases repeat more than 1000000 characters of text.') },
    ],
  });
});
