// Compares the published schema, as a strict validator and an editor read it, with what the server says about the same
// definitions.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  checkDefinition,
  exampleJobs,
  exampleSteps,
  type JsonSchema,
  jobJsonSchema,
  specificationExample,
  stepJsonSchema,
  stepTypes,
} from '@opsconductor/protocol';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { definitionOf, type Wrong } from './definition-corpus.ts';
import { examineDefinition } from './validate-definition.ts';

const ajv = new Ajv2020({ strict: true, strictRequired: false, allErrors: true, formats: {} });
const accepts = ajv.compile(jobJsonSchema());
const corpus = join(import.meta.dirname, '../../../../protocol/src/definition/corpus');

/**
 * Messages about what no schema can express: unique names, fields that must agree, placeholders, patterns, expressions.
 */
const beyondSchemas: RegExp[] = [
  /placeholder/i,
  /^Column|^Line|^Character|\bpattern\b|RE2|repetitions|^A `[([]/,
  /has this name too|is called|can be called|name each lock once|name of its own/,
  /exclusive lock|only with|leave one of the two out|Has no effect without|no earlier step|run again only|is already longer/,
  /is for |No value is allowed|With a default|of the type of|A secret|An item of a list|levels/,
  /Say where its value|comes from one place|Only a mirror deletes|`from` says|jobs of their own/,
  /A rule|There is no parameter|always has a value|Always required/,
  /Has a part|Must be a date/,
];

describe('the published schema', () => {
  test('accepts the specification’s example unchanged, and all its own examples', () => {
    for (const example of [specificationExample, ...exampleJobs]) {
      expect(accepts(structuredClone(example)), JSON.stringify(accepts.errors)).toBe(true);
      expect(examineDefinition(example).problems).toEqual([]);
    }
    for (const type of stepTypes) {
      const step = ajv.compile(stepJsonSchema(type) as JsonSchema);
      for (const config of exampleSteps[type]) {
        expect(step(config), JSON.stringify(step.errors)).toBe(true);
        expect(checkDefinition({ name: 'job', steps: [{ name: 'a', type, config }] })).toEqual([]);
      }
    }
    expect(stepJsonSchema('constructor')).toBeUndefined();
  });

  test('has a title and a description for every field', () => {
    const without: string[] = [];
    const visit = (schema: JsonSchema, path: string) => {
      for (const [name, field] of Object.entries<JsonSchema>(schema.properties ?? {})) {
        if (typeof field.title !== 'string' || typeof field.description !== 'string')
          without.push(`${path}.${name}`);
        visit(field, `${path}.${name}`);
      }
      for (const inner of [schema.items, ...Object.values(Object(schema.patternProperties))]) {
        if (typeof inner === 'object' && inner !== null) visit(inner as JsonSchema, `${path}[]`);
      }
    };
    visit(jobJsonSchema(), 'job');
    for (const type of stepTypes) visit(stepJsonSchema(type) as JsonSchema, type);
    expect(without).toEqual([]);
  });

  test.each(['job', 'steps', 'parameters'])('and the server agree on wrong %s', (topic) => {
    const cases = parse(readFileSync(join(corpus, `${topic}.yaml`), 'utf8')) as Wrong[];
    let refused = 0;
    for (const wrong of cases) {
      const sayable = (wrong.told ?? []).filter(
        ({ message, path }) =>
          !beyondSchemas.some((beyond) => beyond.test(message)) && !/\.(default|enum)/.test(path),
      );
      const isRefused = !accepts(definitionOf(wrong));
      if (isRefused) refused += 1;
      // Where a placeholder is allowed, the schema accepts any text; its value is checked when it is filled in.
      expect(isRefused || sayable.length === 0, wrong.is).toBe(true);
    }
    expect(refused).toBeGreaterThan(cases.length / 3);
  });
});
