// The schema of job definitions for editors and other programs: JSON Schema 2020-12, made from the schemas that
// definitions are checked with, plus each step type's configuration, and a title and description for every field. Rules
// that a schema can't express (definition/check-definition.ts) are left out.
import { JobDefinitionSchema, stepTypes } from '../api/jobs/jobs.ts';
import type { JsonSchema } from '../parameters/json-schema.ts';
import { stepConfigSchema } from '../steps/registry.ts';
import { exampleJobs, exampleSteps } from './examples.ts';
import { fieldWords } from './field-words.ts';

const dialect = 'https://json-schema.org/draft/2020-12/schema';

/** Returns the schema of whole definitions, without `$id`: a reader knows it by the place that it was read from. */
export function jobJsonSchema(): JsonSchema {
  const schema = described(plain(JobDefinitionSchema)) as JsonSchema;
  const steps = schema.properties?.steps as JsonSchema;
  const step = steps.items as JsonSchema;
  const byType = stepTypes.map((type) => ({
    if: { properties: { type: { const: type } }, required: ['type'] },
    // biome-ignore lint/suspicious/noThenProperty: a word of JSON Schema
    then: { properties: { config: { $ref: `#/$defs/${type}` } } },
  }));
  steps.items = { ...step, allOf: byType };
  return {
    $schema: dialect,
    title: 'Job definition',
    description: 'A job of OpsConductor, in YAML or JSON',
    ...schema,
    examples: exampleJobs,
    $defs: Object.fromEntries(stepTypes.map((type) => [type, configSchema(type)])),
  };
}

/** Returns the schema of one step type's configuration; `undefined` for an unknown type. */
export function stepJsonSchema(type: string): JsonSchema | undefined {
  const known = stepTypes.find((one) => one === type);
  return known === undefined ? undefined : { $schema: dialect, ...configSchema(known) };
}

function configSchema(type: (typeof stepTypes)[number]): JsonSchema {
  return {
    title: `Configuration of ${type}`,
    description: `What a step of type ${type} does`,
    ...described(plain(stepConfigSchema(type)) as JsonSchema),
    examples: exampleSteps[type],
  };
}

/** Removes TypeBox's own symbols. */
function plain(schema: unknown): JsonSchema {
  return JSON.parse(JSON.stringify(schema)) as JsonSchema;
}

/** Adds a title and a description to each field at any depth. */
function described(schema: JsonSchema): JsonSchema {
  const { properties } = schema;
  const words = fieldWords.find(
    ({ has }) => properties !== undefined && Object.hasOwn(properties, has),
  )?.words;
  const entries = Object.entries(schema).map(([word, inner]): [string, unknown] => {
    if (word === 'properties') return [word, fields(inner as Record<string, JsonSchema>, words ?? {})];
    if (word === 'items') return [word, described(inner as JsonSchema)];
    if (word !== 'patternProperties') return [word, inner];
    const forms = Object.entries(inner as Record<string, JsonSchema>);
    return [word, Object.fromEntries(forms.map(([form, one]) => [form, described(one)]))];
  });
  return Object.fromEntries(entries);
}

function fields(
  properties: Record<string, JsonSchema>,
  words: Readonly<Record<string, string>>,
): Record<string, JsonSchema> {
  const all = Object.entries(properties).map(([name, field]): [string, JsonSchema] => {
    const description = words[name] ?? field.description;
    return [
      name,
      { title: titleOf(name), ...described(field), ...(description === undefined ? {} : { description }) },
    ];
  });
  return Object.fromEntries(all);
}

/** Turns `on_unknown` into “On unknown”, and `minLength` into “Min length”. */
function titleOf(name: string): string {
  const spaced = name
    .replaceAll(/([a-z])([A-Z])/g, '$1 $2')
    .replaceAll('_', ' ')
    .toLowerCase();
  return spaced.replace(/^./, (first) => first.toUpperCase());
}
