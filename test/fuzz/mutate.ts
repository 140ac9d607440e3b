// Seeded values that almost satisfy a schema: valid ones with a few changes, at the limits that the schema names and in
// ways that trip up parsers and databases.
import type { Prng } from '../faults/prng.ts';

/** The parts of JSON Schema that are used. */
export interface Schema {
  type?: string;
  const?: unknown;
  enum?: readonly unknown[];
  anyOf?: readonly Schema[];
  properties?: Readonly<Record<string, Schema>>;
  required?: readonly string[];
  patternProperties?: Readonly<Record<string, Schema>>;
  items?: Schema | false;
  prefixItems?: readonly Schema[];
  minItems?: number;
  maxItems?: number;
  minimum?: number;
  maximum?: number;
  minLength?: number;
  maxLength?: number;
  default?: unknown;
}

const texts = [
  ...[
    '',
    ' ',
    '\0',
    'a\0b',
    '\ud800',
    '\u202e',
    '\u001b[2J',
    '%',
    '%00',
    "'; --",
    '\\',
    '"',
    '${{ raw(x) }}',
  ],
  ...['__proto__', 'constructor', '../../etc/passwd', '*', '-1', '1e999', '2027-02-30', 'NaN', '\r\n', '😀'],
  ...['x'.repeat(300), 'é'.repeat(5_000), 'x'.repeat(70_000)],
];
const numbers = [-1, 0, -0, 1, 0.5, 1e-300, 1e300, 2 ** 31 - 1, 2 ** 31, 2 ** 32, 2 ** 53, -(2 ** 63)];
const others: unknown[] = [
  null,
  true,
  false,
  [],
  {},
  [null],
  [[[[[[[[{}]]]]]]]],
  { __proto__: null, toString: 1 },
];
const maxLongArray = 2_000;

/** Returns a value that the schema allows, or almost. */
export function sampleOf(schema: Schema | undefined, random: Prng, depth = 0): unknown {
  if (schema === undefined || depth > 6) return random.pick(others);
  if ('const' in schema) return schema.const;
  if (schema.enum !== undefined) return random.pick(schema.enum);
  if (schema.anyOf !== undefined) return sampleOf(random.pick(schema.anyOf), random, depth + 1);
  switch (schema.type) {
    case 'object': {
      const named = Object.entries(schema.properties ?? {});
      const kept = named.filter(([name]) => schema.required?.includes(name) || random.chance(0.3));
      const free = Object.values(schema.patternProperties ?? {}).map((each): [string, Schema] => ['a', each]);
      return Object.fromEntries(
        [...kept, ...free].map(([name, each]) => [name, sampleOf(each, random, depth + 1)]),
      );
    }
    case 'array': {
      if (schema.prefixItems !== undefined)
        return schema.prefixItems.map((each) => sampleOf(each, random, depth + 1));
      const length = random.between(schema.minItems ?? 0, (schema.minItems ?? 0) + 2);
      return Array.from({ length }, () => sampleOf(schema.items || undefined, random, depth + 1));
    }
    case 'integer':
    case 'number':
      return schema.minimum ?? random.pick([1, 2, 3]);
    case 'string':
      return 'x'.repeat(Math.max(schema.minLength ?? 1, 1));
    case 'boolean':
      return random.chance(0.5);
    default:
      return null;
  }
}

/** Returns the value with one to three changes. */
export function mutated(value: unknown, schema: Schema | undefined, random: Prng): unknown {
  let result = value;
  for (let edits = random.between(1, 3); edits > 0; edits--) result = edited(result, schema, random);
  return result;
}

function edited(value: unknown, schema: Schema | undefined, random: Prng): unknown {
  if (Array.isArray(value) && value.length > 0 && random.chance(0.7)) {
    const at = random.between(0, value.length - 1);
    return value.with(
      at,
      edited(value[at], schema?.prefixItems?.[at] ?? (schema?.items || undefined), random),
    );
  }
  if (isObject(value) && random.chance(0.85))
    return editedObject(value, alternative(schema, value, random), random);
  return spoiled(schema, value, random);
}

function editedObject(value: object, schema: Schema | undefined, random: Prng): unknown {
  const names = [...new Set([...Object.keys(value), ...Object.keys(schema?.properties ?? {})])];
  if (names.length === 0 || random.chance(0.1))
    return { ...value, [random.pick(texts)]: random.pick(others) };
  const name = random.pick(names);
  const { [name]: inner, ...rest } = value as Record<string, unknown>;
  if (random.chance(0.1)) return rest;
  const of = schema?.properties?.[name];
  return { ...rest, [name]: inner === undefined ? sampleOf(of, random) : edited(inner, of, random) };
}

function spoiled(schema: Schema | undefined, value: unknown, random: Prng): unknown {
  const near = schema === undefined ? [] : atBounds(alternative(schema, value, random) ?? schema, value);
  return random.pick(near.length > 0 && random.chance(0.5) ? near : [...texts, ...numbers, ...others]);
}

function atBounds(
  { type, minimum, maximum, minLength, maxLength, maxItems, enum: values }: Schema,
  value: unknown,
): unknown[] {
  if (values !== undefined) return [...values, `${values[0]} `];
  if (type === 'integer' || type === 'number') {
    return [minimum, maximum].flatMap((bound) =>
      bound === undefined ? [] : [bound - 1, bound, bound + 1, bound + 0.5],
    );
  }
  if (type === 'string') {
    const lengths = [minLength, maxLength].flatMap((bound) =>
      bound === undefined ? [] : [bound - 1, bound, bound + 1],
    );
    return lengths.filter((length) => length >= 0 && length < 100_000).map((length) => 'x'.repeat(length));
  }
  if (type === 'array' && Array.isArray(value)) {
    const one = value[0] ?? 1;
    const length = Math.min((maxItems ?? 100) + 1, maxLongArray);
    return [[], [...value, ...value], Array.from({ length }, () => one)];
  }
  return [];
}

/** From several schemas, returns one that fits the kind of the value, or any. */
function alternative(schema: Schema | undefined, value: unknown, random: Prng): Schema | undefined {
  if (schema?.anyOf === undefined) return schema;
  const kind = Array.isArray(value) ? 'array' : typeof value;
  const fitting = schema.anyOf.filter(({ type }) => type === kind);
  return random.pick(fitting.length > 0 ? fitting : schema.anyOf);
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
