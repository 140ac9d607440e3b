// What is wrong with a value, by its schema. A fast validator that stops at the first error answers the common case;
// a second one that collects all errors runs only on what failed, and only on values small enough to bound its report.
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
// That they are schemas is for `requireSchema` to find out: each start would pay for it.
const options = { ...validatorOptions, validateSchema: false, inlineRefs: false };
const first = withLinearUniqueItems(new Ajv2020({ ...options, allErrors: false }));
const all = withLinearUniqueItems(new Ajv2020({ ...options, allErrors: true }));
const compiledFirst = new WeakMap<TSchema, ValidateFunction>();
const compiledAll = new WeakMap<TSchema, ValidateFunction>();

/** Throws for a schema that is none, or that can't be compiled. */
export function requireSchema(schema: TSchema): void {
  first.validateSchema(schema, true);
  compiled(first, compiledFirst, schema);
}

/** Compiles what `schemaProblems` would at the first value, and at the first that is wrong: one with each step. */
export function* prepareSchema(schema: TSchema): Generator<void> {
  compiled(first, compiledFirst, schema);
  yield;
  compiled(all, compiledAll, schema);
  yield;
}

/** Fills the defaults of a value in place; returns a detail for each place that is wrong, none when all is right. */
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

/** A body of 1 MiB can hold hundreds of lists of a thousand items, which the library’s own compares each with each. */
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
