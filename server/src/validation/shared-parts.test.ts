import { JobDefinitionSchema } from '@opsconductor/protocol';
import { Type } from 'typebox';
import { expect, test } from 'vitest';
import { schemaProblems } from './schema-problems.ts';
import { withSharedParts } from './shared-parts.ts';

const inner = () => Type.Object({ n: Type.Integer({ default: 3 }) }, { additionalProperties: false });

test('a part that is described twice is stored once and referred to', () => {
  const schema = withSharedParts(Type.Object({ a: inner(), list: Type.Array(inner()) }));
  expect(JSON.parse(JSON.stringify(schema))).toMatchObject({
    properties: { a: { $ref: '#/$defs/part1' }, list: { items: { $ref: '#/$defs/part1' } } },
    $defs: { part1: { properties: { n: { type: 'integer' } } } },
  });
});

test('a schema without repeated parts is returned unchanged, and so is a union, because errors are matched to its branches', () => {
  const single = Type.Object({ a: inner() });
  expect(withSharedParts(single)).toBe(single);
  const union = Type.Object({ a: Type.Union([inner(), Type.Null()]), b: Type.Union([inner(), Type.Null()]) });
  expect(withSharedParts(union)).toBe(union);
});

test('defaults are filled in and problems reported as without shared parts', () => {
  const schema = Type.Object({ a: inner(), list: Type.Array(inner()) });
  const value = { a: {}, list: [{ n: 'x' }, {}, { m: 1 }] };
  const problems = schemaProblems(schema, value);
  expect(problems.map(({ path }) => path)).toEqual(['list[0].n', 'list[2].m']);
  expect(value.a).toEqual({ n: 3 });
  expect(value.list[1]).toEqual({ n: 3 });
});

test('the schema of a job definition shrinks to less than a third', () => {
  const size = (schema: unknown) => JSON.stringify(schema).length;
  expect(size(withSharedParts(JobDefinitionSchema))).toBeLessThan(size(JobDefinitionSchema) / 3);
});
