// The schema of job definitions as editors and other programs read it: JSON Schema 2020-12 of the same schemas that
// definitions are checked by, with each step type's configuration, a title and a description for every field. What no
// schema can say (definition/check-definition.ts) it leaves out.
import { JobDefinitionSchema, stepTypes } from '../api/jobs/jobs.ts';
import type { JsonSchema } from '../parameters/json-schema.ts';
import { stepConfigSchema } from '../steps/registry.ts';
import { exampleJobs, exampleSteps } from './examples.ts';
import { fieldWords } from './field-words.ts';

const dialect = 'https://json-schema.org/draft/2020-12/schema';

/** Of whole definitions. `$id` is left out: it is known by where it was read from. */
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

/** Of the configuration of one step type; undefined for a type that is not known. */
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

/** Without what TypeBox keeps for itself. */
function plain(schema: unknown): JsonSchema {
  return JSON.parse(JSON.stringify(schema)) as JsonSchema;
}

/** With a title and a description of each field, wherever it lies. */
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

/** `on_unknown` as “On unknown”, `minLength` as “Min length”. */
function titleOf(name: string): string {
  const spaced = name
    .replaceAll(/([a-z])([A-Z])/g, '$1 $2')
    .replaceAll('_', ' ')
    .toLowerCase();
  return spaced.replace(/^./, (first) => first.toUpperCase());
}
