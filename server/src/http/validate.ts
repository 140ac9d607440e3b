// Values from outside against their schemas. A fast validator that stops at the first error answers the common case;
// a second one that collects all errors runs only on what failed, and only on values small enough to bound its report.
import { errorDetails, validatorOptions } from '@opsconductor/protocol';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import type { TSchema } from 'typebox';
import { AppError } from '../errors.ts';

const maxReportedNodes = 10_000;
const first = new Ajv2020({ ...validatorOptions, allErrors: false });
const all = new Ajv2020({ ...validatorOptions, allErrors: true });
const compiledFirst = new WeakMap<TSchema, ValidateFunction>();
const compiledAll = new WeakMap<TSchema, ValidateFunction>();

/** Compiles a schema now, so that a mistake in it ends the start and not a request. */
export function prepareValidator(schema: TSchema): void {
  compiled(first, compiledFirst, schema);
}

/**
 * Fills the defaults of a value in place and checks it.
 *
 * @param root What paths begin with; empty for a body.
 * @throws AppError `invalid`, with a detail for each place that is wrong.
 */
export function validate(schema: TSchema, value: unknown, root = ''): void {
  const check = compiled(first, compiledFirst, schema);
  if (check(value)) return;
  let errors = check.errors;
  if (hasAtMostNodes(value, maxReportedNodes)) {
    const checkAll = compiled(all, compiledAll, schema);
    checkAll(value);
    errors = checkAll.errors ?? errors;
  }
  const details = errorDetails(errors, { root });
  const where = details[0]?.path ?? '';
  const summary =
    details.length === 1
      ? `${where}: ${details[0]?.message ?? ''}`
      : `${details.length} fields are not valid.`;
  throw new AppError(
    'invalid',
    where === '' && details.length === 1 ? (details[0]?.message ?? '') : summary,
    {
      details,
    },
  );
}

/** Query or path values, which are text, as the types their schema asks for; what is not in canonical form stays text. */
export function readText(
  schema: TSchema | undefined,
  values: Record<string, string | string[]>,
): Record<string, unknown> {
  const properties =
    (schema as { properties?: Record<string, { type?: unknown }> } | undefined)?.properties ?? {};
  return Object.fromEntries(
    Object.entries(values).map(([name, value]) => [
      name,
      typeof value === 'string' ? readOne(properties[name]?.type, value) : value,
    ]),
  );
}

function readOne(type: unknown, text: string): unknown {
  if (type === 'integer' && /^(0|-?[1-9]\d{0,15})$/.test(text) && Number.isSafeInteger(Number(text))) {
    return Number(text);
  }
  if (type === 'boolean' && (text === 'true' || text === 'false')) return text === 'true';
  return text;
}

function compiled(
  ajv: Ajv2020,
  cache: WeakMap<TSchema, ValidateFunction>,
  schema: TSchema,
): ValidateFunction {
  let check = cache.get(schema);
  if (check === undefined) {
    check = ajv.compile(schema);
    cache.set(schema, check);
  }
  return check;
}

function hasAtMostNodes(value: unknown, max: number): boolean {
  const waiting: unknown[] = [value];
  for (let seen = 0; waiting.length > 0; seen++) {
    const next = waiting.pop();
    if (typeof next === 'object' && next !== null) {
      const children = Object.values(next);
      if (seen + waiting.length + children.length > max) return false;
      waiting.push(...children);
    }
  }
  return true;
}
