// Checks a value against its parameter's definition, with the semantics of JSON Schema 2020-12. This is our own code,
// not ajv, because the console's pages may not compile code, ajv would keep every job's compiled parameters forever,
// and the cost of patterns is counted across all values. Errors have ajv's form, so that they read like all others
// (validation.ts).
import type { ErrorObject } from 'ajv';
import type { ValueDefinition } from '../api/jobs/parameters.ts';
import { firstRepeated, isEqualJson, pointerPart } from '../json-values.ts';
import { limits } from '../limits.ts';
import { compilePattern, isPattern, type PatternBudget } from '../patterns/pattern.ts';
import { isMultipleOf } from './decimal.ts';
import { formatWords, hasFormat } from './formats.ts';
import { schemaOf } from './json-schema.ts';
import { reservedNames } from './reserved-names.ts';

type Values = Record<string, unknown>;

export interface ValueCheck {
  errors: ErrorObject[];
  patterns: PatternBudget;
  /** Number of values that may still be checked; a longer list is refused elsewhere because of its size. */
  nodesLeft: number;
}

/** Adds what is wrong with a value to the check, and fills in defaults within the value, which this changes. */
export function checkValue(check: ValueCheck, value: unknown, definition: ValueDefinition, at: string): void {
  if (check.errors.length >= maxErrors || --check.nodesLeft < 0) return;
  const fail = failing(check, value, definition, at);
  if (!isOfType(value, definition.type)) {
    if (definition.type === 'integer' && Number.isInteger(value)) {
      fail('text', {}, inexactMessage);
    } else fail('type', { type: definition.type });
  } else if (definition.enum !== undefined && !definition.enum.some((one) => isEqualJson(one, value))) {
    fail('enum', { allowedValues: definition.enum });
  } else if (typeof value === 'string') checkText(check, value, definition, at);
  else if (typeof value === 'number') checkNumber(check, value, definition, at);
  else if (Array.isArray(value)) checkArray(check, value, definition, at);
  else if (typeof value === 'object' && value !== null) checkObject(check, value as Values, definition, at);
}

const maxErrors = 50;
const inexactMessage =
  'Is beyond 9007199254740991, above which whole numbers are not exact; make the parameter a string';

/** Adds an error of ajv's form to the check; `message` replaces the words that the keyword has. */
type Fail = (keyword: string, params: Values, message?: string) => void;

function failing(check: ValueCheck, value: unknown, definition: ValueDefinition, at: string): Fail {
  return (keyword, params, message) => {
    check.errors.push({
      keyword,
      instancePath: at,
      schemaPath: `#/${keyword}`,
      params,
      data: value,
      parentSchema: schemaOf(definition),
      ...(message === undefined ? {} : { message }),
    });
  };
}

/** Whether a value has a type. Numbers are never accepted as text, nor text as numbers. */
export function isOfType(value: unknown, type: ValueDefinition['type']): boolean {
  if (type === 'array') return Array.isArray(value);
  if (type === 'object') return typeof value === 'object' && value !== null && !Array.isArray(value);
  if (type === 'integer') return Number.isSafeInteger(value);
  if (type === 'number') return Number.isFinite(value);
  return typeof value === type;
}

function checkText(check: ValueCheck, value: string, definition: ValueDefinition, at: string): void {
  const { minLength, maxLength = limits.maxParameterCharacters, pattern, format } = definition;
  const fail = failing(check, value, definition, at);
  const length = charactersOf(value);
  if (minLength !== undefined && length < minLength) fail('minLength', { limit: minLength });
  const unstorable = textProblem(value);
  if (length > maxLength) fail('maxLength', { limit: maxLength });
  else if (unstorable !== undefined) fail('text', {}, unstorable);
  if (length > maxLength || unstorable !== undefined) return;
  if (format !== undefined && !hasFormat(format, value)) fail('text', {}, `Must be ${formatWords[format]}`);
  if (pattern !== undefined) checkPattern(check, pattern, value, fail);
}

/** Describes characters that no system call, shell or database accepts, in any value. */
function textProblem(text: string): string | undefined {
  const [bad] = /\0|\p{Surrogate}/u.exec(text) ?? [];
  if (bad === undefined) return undefined;
  return bad === '\0' ? nulMessage : surrogateMessage;
}

const nulMessage = 'Must not contain the NUL character (U+0000); remove it';
const surrogateMessage =
  'Must be whole Unicode text; it contains half a surrogate pair. Write the character again';

function checkPattern(check: ValueCheck, source: string, value: string, fail: Fail): void {
  const pattern = compilePattern(source);
  // A pattern that can't be compiled was refused when the job was saved.
  if (!isPattern(pattern)) {
    fail('text', {}, `Can't be checked: its pattern is not valid. ${pattern.message}`);
    return;
  }
  const matches = check.patterns.matches(pattern, value);
  if (matches === undefined) {
    const most = pattern.maxLength.toLocaleString('en');
    fail(
      'text',
      {},
      `Is too long to be matched against its pattern; at most ${most} characters are possible, fewer if other values have patterns too`,
    );
  } else if (!matches) fail('text', { pattern: source }, `Does not match the pattern ${source}`);
}

function checkNumber(check: ValueCheck, value: number, definition: ValueDefinition, at: string): void {
  const fail = failing(check, value, definition, at);
  const bound = (keyword: BoundKeyword, comparison: string, isMet: (limit: number) => boolean) => {
    const limit = definition[keyword];
    if (limit !== undefined && !isMet(limit)) fail(keyword, { comparison, limit });
  };
  bound('minimum', '>=', (limit) => value >= limit);
  bound('exclusiveMinimum', '>', (limit) => value > limit);
  bound('maximum', '<=', (limit) => value <= limit);
  bound('exclusiveMaximum', '<', (limit) => value < limit);
  const { multipleOf } = definition;
  if (multipleOf !== undefined && !isMultipleOf(value, multipleOf)) {
    fail('multipleOf', { multipleOf });
  }
}

type BoundKeyword = 'minimum' | 'maximum' | 'exclusiveMinimum' | 'exclusiveMaximum';

function checkArray(check: ValueCheck, value: unknown[], definition: ValueDefinition, at: string): void {
  const fail = failing(check, value, definition, at);
  const { minItems, maxItems = limits.maxParameterItems, uniqueItems, items } = definition;
  if (minItems !== undefined && value.length < minItems) {
    fail('minItems', { limit: minItems });
  }
  if (value.length > maxItems) {
    fail('maxItems', { limit: maxItems });
  }
  if (value.length > limits.maxParameterItems) return;
  if (uniqueItems === true) {
    const repeated = firstRepeated(value);
    if (repeated !== undefined) fail('uniqueItems', repeated);
  }
  value.forEach((item, index) => {
    if (items === undefined) checkAnything(check, item, `${at}/${index}`);
    else checkValue(check, item, items, `${at}/${index}`);
  });
}

function checkObject(check: ValueCheck, value: Values, definition: ValueDefinition, at: string): void {
  const fail = failing(check, value, definition, at);
  const { properties = {} } = definition;
  for (const [name, property] of Object.entries(properties)) {
    const inner = `${at}/${pointerPart(name)}`;
    if (!Object.hasOwn(value, name)) {
      if (property.default !== undefined) value[name] = structuredClone(property.default);
      else if (isRequired(property)) fail('required', { missingProperty: name });
    } else checkValue(check, value[name], property, inner);
  }
  for (const name of Object.keys(value)) {
    if (Object.hasOwn(properties, name)) continue;
    // Nobody means to use a name like `__proto__`, and it could do anything in a program.
    if (!allowsOthers(definition) || reservedNames.has(name) || textProblem(name) !== undefined) {
      fail('additionalProperties', { additionalProperty: name });
    } else checkAnything(check, value[name], `${at}/${pointerPart(name)}`);
  }
}

/** Whether an object may have properties that are not defined; by default only if none are. */
export function allowsOthers(definition: ValueDefinition): boolean {
  return definition.additionalProperties ?? definition.properties === undefined;
}

/** Checks a value about which nothing is declared. */
function checkAnything(check: ValueCheck, value: unknown, at: string): void {
  if (value === null) return;
  const type = Array.isArray(value) ? 'array' : (typeof value as ValueDefinition['type']);
  checkValue(check, value, { type }, at);
}

/** Whether a value must be given; by default it must, unless there is a default value. */
export function isRequired(definition: ValueDefinition): boolean {
  return definition.required ?? definition.default === undefined;
}

function charactersOf(text: string): number {
  let count = 0;
  for (const _ of text) count++;
  return count;
}
