// Validates a value by its schema. A fast validator that stops at the first error handles the common case. A second one
// that collects all errors runs only on values that failed, and only if they are small enough to bound its report.
import {
  type ErrorDetail,
  type ErrorDetailsOptions,
  errorDetails,
  firstRepeated,
  validatorOptions,
} from '@opsconductor/protocol';
import type { SchemaValidateFunction } from 'ajv';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import type { TSchema } from 'typebox';
import { withSharedParts } from './shared-parts.ts';

const maxReportedNodes = 10_000;
// `requireSchema` checks that these are schemas; here every start would pay for that.
const options = { ...validatorOptions, validateSchema: false, inlineRefs: false };
const first = withLinearUniqueItems(new Ajv2020({ ...options, allErrors: false }));
const all = withLinearUniqueItems(new Ajv2020({ ...options, allErrors: true }));
const compiledFirst = new WeakMap<TSchema, ValidateFunction>();
const compiledAll = new WeakMap<TSchema, ValidateFunction>();

/** @throws if the schema is invalid or can't be compiled. */
export function requireSchema(schema: TSchema): void {
  first.validateSchema(schema, true);
  compiled(first, compiledFirst, schema);
}

/**
 * Compiles the validators that `schemaProblems` would compile at the first value and at the first wrong value, one per
 * step.
 */
export function* prepareSchema(schema: TSchema): Generator<void> {
  compiled(first, compiledFirst, schema);
  yield;
  compiled(all, compiledAll, schema);
  yield;
}

/** Fills in the defaults of a value in place. Returns a detail for each wrong place; an empty list if all is right. */
export function schemaProblems(
  schema: TSchema,
  value: unknown,
  options: ErrorDetailsOptions = {},
): ErrorDetail[] {
  const check = compiled(first, compiledFirst, schema);
  if (check(value)) return [];
  let errors = check.errors;
  if (hasAtMostNodes(value, maxReportedNodes)) {
    const checkAll = compiled(all, compiledAll, schema);
    checkAll(value);
    errors = checkAll.errors ?? errors;
  }
  return errorDetails(errors, options);
}

/**
 * Replaces the library's `uniqueItems`, which compares every item with every other: a body of 1 MiB can hold hundreds
 * of lists of a thousand items.
 */
function withLinearUniqueItems(ajv: Ajv2020): Ajv2020 {
  const validate: SchemaValidateFunction = (isAsked: boolean, items: unknown[], parentSchema) => {
    const repeated = isAsked ? firstRepeated(items) : undefined;
    if (repeated === undefined) return true;
    validate.errors = [{ keyword: 'uniqueItems', params: repeated, parentSchema: parentSchema ?? {} }];
    return false;
  };
  ajv.removeKeyword('uniqueItems');
  return ajv.addKeyword({ keyword: 'uniqueItems', type: 'array', schemaType: 'boolean', validate });
}

function compiled(
  ajv: Ajv2020,
  cache: WeakMap<TSchema, ValidateFunction>,
  schema: TSchema,
): ValidateFunction {
  let check = cache.get(schema);
  if (check === undefined) {
    check = ajv.compile(withSharedParts(schema));
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
