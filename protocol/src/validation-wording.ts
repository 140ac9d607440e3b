// The sentences in validation errors: what is wrong, what was found, and what is allowed.
import type { ErrorObject } from 'ajv';
import { describeTextProblem, visibleJson } from './api/text.ts';
import { formSentence, isPlain, nameForm, nameSentence, nameWords } from './validation-forms.ts';

type Schema = Record<string, unknown>;

const secretWords = new Set([
  'password',
  'passphrase',
  'token',
  'sealed',
  'code',
  'secret',
  'current',
  'wrapped',
]);
const maxFoundChars = 60;
const maxListed = 12;

/** Whether a path leads to a field whose value must not be repeated, such as `user.newPassword` or `sealed.data`. */
export function isSecretPath(path: string): boolean {
  const words = path.replaceAll(/([a-z0-9])([A-Z])/g, '$1 $2').split(/[^A-Za-z0-9]+/);
  return words.some((word) => secretWords.has(word.toLowerCase()));
}

/** Returns one sentence for a person. */
export function sentenceOf(error: ErrorObject): string {
  const params = error.params as Schema;
  switch (error.keyword) {
    case 'required':
      return 'Is missing.';
    case 'additionalProperties':
    case 'unevaluatedProperties':
      return unknownProperty(error);
    case 'type':
      return `Must be ${typeName(params.type)}${typeHint(params.type, error)}.`;
    case 'enum':
    case 'const':
      return `Must be ${oneOf(error)}.`.replace(/\?\.$/, '?');
    case 'minimum':
    case 'maximum':
    case 'exclusiveMinimum':
    case 'exclusiveMaximum':
      return `Must be ${comparison(params)}.`;
    case 'multipleOf':
      return `Must be a multiple of ${params.multipleOf}.`;
    case 'minLength':
    case 'maxLength':
      return lengthSentence(error, 'character');
    case 'minItems':
    case 'maxItems':
      return lengthSentence(error, 'item');
    case 'minProperties':
    case 'maxProperties':
      return lengthSentence(error, 'property');
    case 'uniqueItems':
      return `Must not repeat an item; items ${Math.min(params.i as number, params.j as number)} and ${Math.max(params.i as number, params.j as number)} are equal.`;
    case 'pattern':
      return (
        describeTextProblem(params.pattern, String(error.data)) ??
        formSentence(params.pattern, String(error.data)) ??
        'Has characters or a form that are not allowed.'
      );
    case 'format':
      return `Must be ${params.format === 'uuid' ? 'a UUID' : `in the form ${params.format}`}.`;
    case 'anyOf':
    case 'oneOf':
      return 'Matches none of the allowed forms.';
    default:
      return `${error.message ?? 'Is not valid'}.`.replace(/^./, (first) => first.toUpperCase());
  }
}

/** Returns what was found, shortened; `undefined` if that adds nothing or could reveal a secret. */
export function describeFound(error: ErrorObject, path: string): string | undefined {
  if (error.keyword === 'additionalProperties' && nameForm(schemaOf(error)) !== undefined) {
    return shorten(visibleJson(String(error.params.additionalProperty)));
  }
  if (['required', 'additionalProperties', 'uniqueItems'].includes(error.keyword)) return undefined;
  const value: unknown = error.data;
  if (value === undefined) return undefined;
  if (error.keyword === 'minLength' || error.keyword === 'maxLength') {
    return isSecretPath(path) ? undefined : plural([...String(value)].length, 'character');
  }
  if (error.keyword === 'minItems' || error.keyword === 'maxItems') {
    return plural((value as unknown[]).length, 'item');
  }
  if (error.keyword === 'minProperties' || error.keyword === 'maxProperties') {
    return plural(Object.keys(value as object).length, 'property');
  }
  if (Array.isArray(value)) return 'an array';
  if (value === null) return 'null';
  if (typeof value === 'object') return 'an object';
  if (isSecretPath(path)) return undefined;
  return shorten(typeof value === 'string' ? visibleJson(value.slice(0, 2 * maxFoundChars)) : String(value));
}

/** Returns what is allowed; `undefined` if the sentence already says it. */
export function describeAllowed(error: ErrorObject): string | undefined {
  const parent = schemaOf(error);
  if (error.keyword === 'required') {
    const properties = parent.properties as Record<string, Schema> | undefined;
    return describeSchema(properties?.[String(error.params.missingProperty)]);
  }
  if (error.keyword === 'additionalProperties') {
    const names = Object.keys((parent.properties as Schema | undefined) ?? {});
    const form = nameForm(parent);
    if (form !== undefined) return nameWords(form);
    return names.length === 0 ? 'no properties' : list(names);
  }
  if (error.keyword === 'anyOf' || error.keyword === 'oneOf') {
    const branches = (error.schema as Schema[]).map((branch) => describeSchema(branch));
    return list([...new Set(branches.filter((branch) => branch !== undefined))], ' or ');
  }
  return describeSchema(parent);
}

/** Describes a schema in a few words, such as `an integer from 1 to 65535`. */
export function describeSchema(schema: Schema | undefined): string | undefined {
  if (schema === undefined) return undefined;
  if (Array.isArray(schema.enum)) return list(schema.enum.map((value) => shorten(JSON.stringify(value))));
  if ('const' in schema) {
    return typeof schema.description === 'string' ? schema.description : JSON.stringify(schema.const);
  }
  if (Array.isArray(schema.anyOf)) {
    const branches = schema.anyOf.map((branch: Schema) => describeSchema(branch));
    return list([...new Set(branches.filter((branch) => branch !== undefined))], ' or ');
  }
  if (schema.type === undefined)
    return typeof schema.description === 'string' ? lowerFirst(schema.description) : undefined;
  const base = describeBase(schema);
  const bounds = describeBounds(schema);
  const form =
    typeof schema.description === 'string'
      ? `: ${lowerFirst(schema.description)}`
      : typeof schema.pattern === 'string' && !isPlain(schema.pattern)
        ? ` matching ${shorten(schema.pattern)}`
        : '';
  return `${base}${bounds}${form}`;
}

function describeBase(schema: Schema): string {
  // Formats of parameters bring their own words (parameters/formats.ts).
  if (typeof schema.words === 'string') return schema.words;
  const names = Object.keys(Object(schema.properties));
  if (schema.type === 'object' && names.length > 0) return `an object with ${list(names)}`;
  return schema.format === 'uuid' ? 'a UUID' : typeName(schema.type);
}

function describeBounds(schema: Schema): string {
  if (schema.type === 'string') return range(schema.minLength, schema.maxLength, ' of ', 'character');
  if (schema.type === 'object' && schema.properties === undefined) {
    return range(schema.minProperties, schema.maxProperties, ' of ', 'property');
  }
  if (schema.type === 'array') return range(schema.minItems, schema.maxItems, ' of ', 'item');
  const maximum = schema.maximum === Number.MAX_SAFE_INTEGER ? undefined : schema.maximum;
  const parts = [
    range(schema.minimum, maximum, ' '),
    schema.exclusiveMinimum === undefined ? '' : ` above ${schema.exclusiveMinimum}`,
    schema.exclusiveMaximum === undefined ? '' : ` below ${schema.exclusiveMaximum}`,
  ].filter((part) => part !== '');
  const factor = schema.multipleOf === undefined ? '' : `, a multiple of ${schema.multipleOf}`;
  return `${parts.join(' and')}${factor}`;
}

function range(min: unknown, max: unknown, before: string, unit?: string): string {
  const low = typeof min === 'number' ? min : undefined;
  const high = typeof max === 'number' ? max : undefined;
  const count = (n: number) => (unit === undefined ? String(n) : plural(n, unit));
  if (low !== undefined && high !== undefined) {
    if (unit !== undefined && low === high) return `${before}${count(low)}`;
    return unit === undefined ? ` from ${low} to ${high}` : `${before}${low} to ${count(high)}`;
  }
  if (low !== undefined) return `${before}at least ${count(low)}`;
  return high === undefined ? '' : `${before}at most ${count(high)}`;
}

/**
 * Suggests the right notation if it can be guessed from what was written. Never repeats the value: it may be a secret.
 */
function typeHint(type: unknown, { data, parentSchema }: ErrorObject): string {
  if (type === 'string' && (typeof data === 'number' || typeof data === 'boolean')) {
    return '; put it in quotes';
  }
  if (typeof data !== 'string') return '';
  if (data.includes('${{')) return '; a placeholder can’t stand here';
  if (data.length > 20) return '';
  if (type === 'boolean') {
    if (/^(true|yes|on)$/i.test(data)) return '; write true without quotes';
    return /^(false|no|off)$/i.test(data) ? '; write false without quotes' : '';
  }
  if (type !== 'integer' && type !== 'number') return '';
  if (/^-?\d+(\.\d+)?$/.test(data)) return '; write it without quotes';
  const [, count, unit = ''] = /^(\d{1,6}) ?(s|m|h|d)$/.exec(data) ?? [];
  const isSeconds = /\bseconds\b/i.test(String(parentSchema?.description));
  const seconds = Number(count) * ({ s: 1, m: 60, h: 3_600, d: 86_400 }[unit] ?? Number.NaN);
  return isSeconds && Number.isFinite(seconds) ? `: seconds without a unit, ${seconds}` : '';
}

function oneOf(error: ErrorObject): string {
  const allowed = describeSchema(schemaOf(error)) ?? 'another value';
  const values = error.keyword === 'enum' ? (schemaOf(error).enum as unknown[]) : [];
  const texts = values.filter((value) => typeof value === 'string');
  const near =
    typeof error.data === 'string' && error.data.length > 2 ? nearName(error.data, texts) : undefined;
  const hint = near === undefined ? '' : `; did you mean ${JSON.stringify(near)}?`;
  return `${values.length > 1 ? `one of ${allowed}` : allowed}${hint}`;
}

function unknownProperty(error: ErrorObject): string {
  const given = String(error.params.additionalProperty ?? error.params.unevaluatedProperty);
  const names = Object.keys((schemaOf(error).properties as Schema | undefined) ?? {});
  const form = nameForm(schemaOf(error));
  if (form !== undefined) return nameSentence(form, given);
  const near = nearName(given, names);
  return near === undefined ? 'Is not known here.' : `Is not known here; did you mean ${near}?`;
}

/** Returns the name that was probably meant. */
export function nearName(given: string, names: readonly string[]): string | undefined {
  const near = names.find((name) => name.toLowerCase() === given.toLowerCase() || isOneEditAway(name, given));
  return near ?? names.find((name) => isTwoEditsAway(name, given));
}

/** Long names may differ by two characters, as in `max_parralel`. */
function isTwoEditsAway(a: string, b: string): boolean {
  if (Math.min(a.length, b.length) < 8 || Math.max(a.length, b.length) > 64) return false;
  return [...b].some((_, at) => isOneEditAway(a, b.slice(0, at) + b.slice(at + 1)));
}

/** One character added, removed or changed, or two neighboring ones swapped. */
function isOneEditAway(a: string, b: string): boolean {
  if (Math.abs(a.length - b.length) > 1) return false;
  let start = 0;
  while (start < a.length && a[start] === b[start]) start++;
  const [restA, restB] = [a.slice(start), b.slice(start)];
  const isSwap = restA[0] === restB[1] && restA[1] === restB[0] && restA.slice(2) === restB.slice(2);
  return isSwap || restA.slice(1) === restB.slice(1) || restA.slice(1) === restB || restA === restB.slice(1);
}

function comparison(params: Schema): string {
  const words: Record<string, string> = { '>=': 'at least', '<=': 'at most', '>': 'above', '<': 'below' };
  return `${words[String(params.comparison)] ?? String(params.comparison)} ${params.limit}`;
}

function lengthSentence(error: ErrorObject, unit: string): string {
  const limit = Number(error.params.limit);
  const isMinimum = error.keyword.startsWith('min');
  if (isMinimum && limit === 1) return 'Must not be empty.';
  return `Must have at ${isMinimum ? 'least' : 'most'} ${plural(limit, unit)}.`;
}

function typeName(type: unknown): string {
  const names = (Array.isArray(type) ? type : [type]).map((name) => {
    if (name === 'null') return 'null';
    if (name === 'boolean') return 'true or false';
    return /^[aio]/.test(String(name)) ? `an ${name}` : `a ${name}`;
  });
  return names.join(' or ');
}

function schemaOf(error: ErrorObject): Schema {
  return (error.parentSchema as Schema | undefined) ?? {};
}

function plural(count: number, unit: string): string {
  if (count === 1) return `1 ${unit}`;
  return `${count} ${unit === 'property' ? 'properties' : `${unit}s`}`;
}

function list(items: readonly string[], separator = ', '): string {
  const shown = items.slice(0, maxListed).join(separator);
  return items.length > maxListed ? `${shown}${separator}… (${items.length} in all)` : shown;
}

function shorten(text: string): string {
  const characters = [...text];
  return characters.length <= maxFoundChars ? text : `${characters.slice(0, maxFoundChars - 1).join('')}…`;
}

function lowerFirst(text: string): string {
  return text.replace(/^[A-Z](?=[a-z ])/, (first) => first.toLowerCase());
}
