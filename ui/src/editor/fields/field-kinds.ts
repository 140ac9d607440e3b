// Which control a field gets, by its JSON Schema.

export interface FieldSchema {
  type?: string | undefined;
  title?: string | undefined;
  description?: string | undefined;
  default?: unknown;
  enum?: unknown[] | undefined;
  const?: unknown;
  anyOf?: FieldSchema[] | undefined;
  items?: FieldSchema | undefined;
  properties?: Record<string, FieldSchema> | undefined;
  patternProperties?: Record<string, FieldSchema> | undefined;
  additionalProperties?: unknown;
  required?: string[] | undefined;
  minimum?: number | undefined;
  maximum?: number | undefined;
  maxLength?: number | undefined;
  contentMediaType?: string | undefined;
}

export type FieldKind =
  | 'code'
  | 'text'
  | 'long'
  | 'number'
  | 'flag'
  | 'choice'
  | 'choices'
  | 'list'
  | 'pairs'
  | 'group'
  | 'raw';

export function kindOf(schema: FieldSchema): FieldKind {
  if (schema.contentMediaType !== undefined) return 'code';
  if (schema.enum !== undefined) return 'choice';
  if (schema.anyOf !== undefined) return 'text';
  switch (schema.type) {
    case 'string':
      return (schema.maxLength ?? 0) >= 500 && schema.maxLength !== 4096 ? 'long' : 'text';
    case 'integer':
    case 'number':
      return 'number';
    case 'boolean':
      return 'flag';
    case 'array':
      return schema.items?.enum !== undefined ? 'choices' : schema.items?.type === 'object' ? 'raw' : 'list';
    case 'object':
      return schema.properties === undefined ? 'pairs' : 'group';
    default:
      return 'raw';
  }
}

/**
 * Converts what was typed to the type that the schema takes. What can't be converted stays text, so that the check
 * reports it.
 */
export function readTyped(schema: FieldSchema, typed: string): unknown {
  const text = typed.trim();
  if (text === '') return undefined;
  if (schema.anyOf !== undefined) {
    const takesNumber = schema.anyOf.some(({ type }) => type === 'integer' || type === 'number');
    return takesNumber && isNumber(text) ? Number(text) : text;
  }
  if (schema.type === 'integer' || schema.type === 'number') return isNumber(text) ? Number(text) : text;
  return typed;
}

export function readList(items: FieldSchema, typed: string): unknown[] | undefined {
  const parts = typed
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');
  return parts.length === 0 ? undefined : parts.map((part) => readTyped(items, part));
}

function isNumber(text: string): boolean {
  return /^-?(0|[1-9]\d*)(\.\d+)?$/.test(text);
}

export function shownText(value: unknown): string {
  if (value === undefined || value === null) return '';
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

/** Returns the label of a field: its title, or `working_directory` as `Working directory`. */
export function wordsOf(name: string, schema: FieldSchema): string {
  if (schema.title !== undefined) return schema.title;
  const words = name.replaceAll('_', ' ');
  return words.charAt(0).toUpperCase() + words.slice(1);
}

export function isSeconds({ description = '' }: FieldSchema): boolean {
  return /\bseconds\b/i.test(description);
}
