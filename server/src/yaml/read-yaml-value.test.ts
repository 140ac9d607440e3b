import { expect, it } from 'vitest';
import { readYamlValue } from './read-yaml-value.ts';

const limits = { maxTokens: 100, maxValues: 1_000, maxDepth: 8 };

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
