// Checks values from outside against their schemas: bodies, and paths and queries, which are text.
import type { ErrorDetail } from '@opsconductor/protocol';
import type { TSchema } from 'typebox';
import { AppError } from '../errors.ts';
import { schemaProblems } from '../validation/schema-problems.ts';

type Properties = Record<string, { type?: unknown; minimum?: number; maximum?: number }>;

/**
 * The message alone says what is wrong, for clients that show nothing else: with what is allowed if the sentence only
 * speaks of that.
 *
 * @throws AppError `invalid` if there are any.
 */
export function refuseProblems(details: readonly ErrorDetail[]): void {
  const [only, ...more] = details;
  if (only === undefined) return;
  const { path, message: sentence, allowed } = only;
  const lacksAllowed = allowed !== undefined && /\ballowed\b/.test(sentence) && !sentence.includes(allowed);
  const whole = lacksAllowed ? `${sentence} Allowed: ${allowed.replace(/\.$/, '')}.` : sentence;
  const told = path === '' ? whole : `${path}: ${whole}`;
  const message = more.length === 0 ? told : `${details.length} fields are invalid.`;
  throw new AppError('invalid', message, { details });
}

/**
 * Converts query or path values, which are text, to the types of their schema. What is not in canonical form stays
 * text.
 */
export function readText(
  schema: TSchema | undefined,
  values: Record<string, string | string[]>,
): Record<string, unknown> {
  const properties = propertiesOf(schema);
  return Object.fromEntries(
    Object.entries(values).map(([name, value]) => [
      name,
      typeof value === 'string' ? readOne(properties[name]?.type, value) : value,
    ]),
  );
}

/**
 * Like `schemaProblems`, for values that `readText` has read: a number that it left as text was not in plain digits.
 */
export function textProblems(schema: TSchema, values: Record<string, unknown>, root = ''): ErrorDetail[] {
  const properties = propertiesOf(schema);
  return schemaProblems(schema, values, { root }).map((detail) => {
    const name = root === '' ? detail.path : detail.path.slice(root.length + 1);
    const property = Object.hasOwn(properties, name) ? properties[name] : undefined;
    if (property?.type !== 'integer' || typeof values[name] !== 'string') return detail;
    const { minimum = Number.MIN_SAFE_INTEGER, maximum = Number.MAX_SAFE_INTEGER } = property;
    const allowed = `a whole number from ${minimum} to ${maximum} in plain digits`;
    return { ...detail, message: `Must be ${allowed}.`, allowed };
  });
}

function propertiesOf(schema: TSchema | undefined): Properties {
  return (schema as { properties?: Properties } | undefined)?.properties ?? {};
}

function readOne(type: unknown, text: string): unknown {
  if (type === 'integer' && /^(0|-?[1-9]\d{0,15})$/.test(text) && Number.isSafeInteger(Number(text))) {
    return Number(text);
  }
  if (type === 'boolean' && (text === 'true' || text === 'false')) return text === 'true';
  return text;
}
