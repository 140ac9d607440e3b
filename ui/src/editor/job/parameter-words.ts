// Which fields of a parameter belong to which type, for the parameter form.
import { type ParameterType, parameterFormats, parameterTypes } from '@opsconductor/protocol';
import type { FieldSchema } from '../fields/field-kinds.ts';

const number = (title: string): FieldSchema => ({ type: 'number', title });
const count = (title: string): FieldSchema => ({ type: 'integer', title });

/** Fields other than type, title, description, choices, default and required. */
export const fieldsOfType: Record<ParameterType, Record<string, FieldSchema>> = {
  string: {
    pattern: {
      type: 'string',
      title: 'Pattern',
      description: 'RE2; must match somewhere. Anchor it with ^ and $ for the whole.',
    },
    format: { type: 'string', title: 'Format', enum: [...parameterFormats] },
    minLength: count('Characters, at least'),
    maxLength: count('Characters, at most'),
  },
  integer: { minimum: number('At least'), maximum: number('At most'), multipleOf: number('Multiple of') },
  number: {
    minimum: number('At least'),
    maximum: number('At most'),
    exclusiveMinimum: number('Above'),
    exclusiveMaximum: number('Below'),
    multipleOf: number('Multiple of'),
  },
  boolean: {},
  array: {
    minItems: count('Items, at least'),
    maxItems: count('Items, at most'),
    uniqueItems: { type: 'boolean', title: 'No duplicates' },
  },
  object: {
    additionalProperties: {
      type: 'boolean',
      title: 'Other properties',
      description: 'Whether properties that are not listed are allowed',
    },
  },
};

export const typeWords: Record<ParameterType, string> = {
  string: 'text',
  integer: 'whole number',
  number: 'number',
  boolean: 'yes or no',
  array: 'list',
  object: 'named values',
};

export function typeOf(value: unknown): ParameterType | undefined {
  const { type } = Object(value) as { type?: unknown };
  return parameterTypes.find((one) => one === type);
}

/** A short summary for the heading of a parameter. */
export function summaryOf(value: unknown): string {
  const parameter = Object(value) as Record<string, unknown>;
  const type = typeOf(value);
  const parts = [parameter.secret === true ? 'secret' : type === undefined ? 'no type' : typeWords[type]];
  if (Array.isArray(parameter.enum)) parts.push(`one of ${parameter.enum.length}`);
  if (parameter.default !== undefined) parts.push(`default ${short(JSON.stringify(parameter.default))}`);
  else if (parameter.required === false) parts.push('optional');
  return parts.join(', ');
}

function short(text: string): string {
  return text.length > 24 ? `${text.slice(0, 23)}…` : text;
}

/** Converts what was typed as a default or choice to the parameter's type; it stays text if it can't be converted. */
export function readValue(type: ParameterType | undefined, typed: string): unknown {
  const text = typed.trim();
  if (text === '') return undefined;
  if (type === 'string' || type === undefined) return typed;
  if (type === 'boolean') return text === 'true' ? true : text === 'false' ? false : text;
  try {
    return JSON.parse(text);
  } catch {
    return typed;
  }
}

export function shownValue(value: unknown): string {
  if (value === undefined) return '';
  return typeof value === 'string' ? value : JSON.stringify(value);
}
