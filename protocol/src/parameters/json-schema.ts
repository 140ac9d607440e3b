// Parameters as JSON Schema 2020-12, for forms, editors and other programs.
import type { Parameter, Parameters, ValueDefinition } from '../api/jobs/parameters.ts';
import { formatWords } from './formats.ts';

export interface JsonSchema {
  [keyword: string]: unknown;
  type?: string;
  properties?: Record<string, JsonSchema>;
  required?: string[];
}

/** Keywords of ours that JSON Schema doesn't have, or has in a different place. */
const ourWords = new Set(['required', 'secret', 'order', 'allow_leading_dash', 'items', 'properties']);

/** Returns one object schema of all parameters: the schema of a run's `parameters`. */
export function parametersJsonSchema(parameters: Parameters): JsonSchema {
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    ...objectSchema(parameters, false),
  };
}

function objectSchema(properties: Record<string, Parameter>, additionalProperties: boolean): JsonSchema {
  const required = Object.entries(properties)
    .filter(([, property]) => property.required ?? property.default === undefined)
    .map(([name]) => name);
  return {
    type: 'object',
    properties: Object.fromEntries(
      Object.entries(properties).map(([name, property]) => [name, valueJsonSchema(property)]),
    ),
    ...(required.length === 0 ? {} : { required }),
    additionalProperties,
  };
}

function valueJsonSchema(value: Parameter): JsonSchema {
  const own = Object.entries(value).filter(([word, content]) => !ourWords.has(word) && content !== undefined);
  return {
    ...Object.fromEntries(own),
    ...(value.secret === true ? { writeOnly: true } : {}),
    ...(value.items === undefined ? {} : { items: valueJsonSchema(value.items) }),
    ...(value.type === 'object'
      ? objectSchema(value.properties ?? {}, value.additionalProperties ?? value.properties === undefined)
      : {}),
  };
}

/** The part of a definition that the wording of messages reads (validation-wording.ts). */
export function schemaOf(definition: ValueDefinition): Record<string, unknown> {
  const { description: _, title: __, ...rest } = definition;
  return definition.format === undefined ? rest : { ...rest, words: formatWords[definition.format] };
}
