// The values of one rendering, and the rules that each must obey before it is used.
import type { ParameterType } from '../../api/jobs/parameters.ts';
import { limits } from '../../limits.ts';
import type { Reference } from './reference.ts';
import type { Known } from './scope.ts';

/** Values of placeholders on one target. Includes secret values, once they have been opened. */
export interface RenderValues {
  parameters: Readonly<Record<string, unknown>>;
  target: {
    name: string;
    host: string;
    port: number;
    os?: string | null;
    segment: string;
    labels: Readonly<Record<string, string>>;
  };
  run: { id: number | string; created_at: string; created_by: string };
  job: { id: number | string; name: string; version: number };
  steps: Readonly<Record<string, { outputs: Readonly<Record<string, string>> }>>;
}

/** Returns the value of a reference; `undefined` if there is none. */
export function givenValue(reference: Reference, values: RenderValues): unknown {
  let value: unknown = values[reference.source];
  for (const part of reference.path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part)) return undefined;
    value = (value as Record<string | number, unknown>)[part];
  }
  return value ?? undefined;
}

/** Returns what is wrong with a value for its declared type, without the value itself; `undefined` if nothing is. */
export function valueProblem(value: unknown, { type }: Pick<Known, 'type'>): string | undefined {
  if (value === undefined) return 'has no value';
  if (!isOfType(value, type)) return `is not ${type === 'boolean' ? 'true or false' : `of the type ${type}`}`;
  const text = textOf(value);
  // A valid value is never cut or altered on its way; whatever could be is refused.
  if (holdsNul(value)) return 'contains a NUL character, which ends a text for every program';
  if (!text.isWellFormed()) return 'contains half of a surrogate pair, which no encoding can carry';
  if (text.length > limits.maxParameterCharacters) {
    return `is longer than ${limits.maxParameterCharacters} characters`;
  }
  return undefined;
}

/** A value as text: strings unchanged, numbers and booleans in JSON form, arrays and objects as compact JSON. */
export function textOf(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}

function isOfType(value: unknown, type: ParameterType): boolean {
  switch (type) {
    case 'string':
      return typeof value === 'string';
    case 'integer':
      return isPlainNumber(value) && /^-?\d+$/.test(JSON.stringify(value));
    case 'number':
      return isPlainNumber(value);
    case 'boolean':
      return typeof value === 'boolean';
    case 'array':
      return Array.isArray(value);
    case 'object':
      return typeof value === 'object' && value !== null && !Array.isArray(value);
  }
}

function isPlainNumber(value: unknown): boolean {
  return typeof value === 'number' && /^-?\d+(\.\d+)?(e[+-]?\d+)?$/.test(JSON.stringify(value));
}

function holdsNul(value: unknown): boolean {
  if (typeof value === 'string') return value.includes('\0');
  if (typeof value !== 'object' || value === null) return false;
  return Object.entries(value).some(([key, inner]) => key.includes('\0') || holdsNul(inner));
}
