// Checks that parameters are consistent, which the schema of a definition can't express. All checks run even if others
// fail, so nothing is assumed about the types of what is checked.
import type { ErrorDetail } from '../api/errors.ts';
import { type ParameterType, parameterTypes, type ValueDefinition } from '../api/jobs/parameters.ts';
import { visibleJson } from '../api/text.ts';
import { limits } from '../limits.ts';
import { compilePattern, isPattern, PatternBudget } from '../patterns/pattern.ts';
import { errorDetails } from '../validation.ts';
import { checkValue, isOfType, type ValueCheck } from './check-value.ts';
import { reservedProblem } from './reserved-names.ts';

type Loose = { [word: string]: unknown };

/** Keywords that apply only to some types. */
const wordTypes: Record<string, readonly ParameterType[]> = {
  minimum: ['integer', 'number'],
  maximum: ['integer', 'number'],
  exclusiveMinimum: ['integer', 'number'],
  exclusiveMaximum: ['integer', 'number'],
  multipleOf: ['integer', 'number'],
  minLength: ['string'],
  maxLength: ['string'],
  pattern: ['string'],
  format: ['string'],
  secret: ['string'],
  allow_leading_dash: ['string'],
  minItems: ['array'],
  maxItems: ['array'],
  uniqueItems: ['array'],
  items: ['array'],
  properties: ['object'],
  additionalProperties: ['object'],
};
const plurals: Record<ParameterType, string> = {
  string: 'strings',
  integer: 'integers',
  number: 'numbers',
  boolean: 'booleans',
  array: 'arrays',
  object: 'objects',
};

/** Returns what is wrong with a definition's parameters, apart from what their schema already reports. */
export function checkParameters(parameters: unknown, path = 'parameters'): ErrorDetail[] {
  if (!isObject(parameters)) return [];
  // Shared by all parameters: each may have a thousand values to be matched against a pattern.
  const patterns = new PatternBudget(limits.maxDefinitionPatternSteps);
  return Object.entries(parameters).flatMap(([name, parameter]) => {
    const at = `${path}.${name}`;
    return [
      ...reservedProblem(name, at, 'parameter'),
      ...(isObject(parameter) ? valueProblems(parameter, at, 1, patterns) : []),
    ];
  });
}

function valueProblems(value: Loose, path: string, depth: number, patterns: PatternBudget): ErrorDetail[] {
  const type = parameterTypes.find((one) => one === value.type);
  if (depth > limits.maxParameterDepth) {
    return [
      {
        path,
        message: `Is nested deeper than ${limits.maxParameterDepth} levels.`,
        allowed: `${limits.maxParameterDepth} levels, the parameter itself included`,
      },
    ];
  }
  return [
    ...(type === undefined ? [] : wordProblems(value, type, path)),
    ...boundProblems(value, path),
    ...patternProblems(value.pattern, `${path}.pattern`),
    ...secretProblems(value, path),
    ...(type === undefined ? [] : enumProblems(value, type, path, patterns)),
    ...defaultProblems(value, path, depth, patterns),
    ...(isObject(value.items) ? valueProblems(value.items, `${path}.items`, depth + 1, patterns) : []),
    ...(isObject(value.items) ? itemProblems(value.items, `${path}.items`) : []),
    ...(isObject(value.properties)
      ? propertyProblems(value.properties, `${path}.properties`, depth, patterns)
      : []),
  ];
}

function wordProblems(value: Loose, type: ParameterType, path: string): ErrorDetail[] {
  return Object.entries(wordTypes)
    .filter(([word, types]) => value[word] !== undefined && !types.includes(type))
    .map(([word, types]) => ({
      path: `${path}.${word}`,
      message: `${word} is for ${types.map((one) => plurals[one]).join(' and ')}; ${path} is of type ${type}.`,
      found: shown(value[word]),
      allowed: allowedWords(type),
    }));
}

function allowedWords(type: ParameterType): string {
  const own = Object.entries(wordTypes).filter(([, types]) => types.includes(type));
  return ['title', 'description', 'default', 'enum', 'required', 'order', ...own.map(([word]) => word)].join(
    ', ',
  );
}

const bounds: [low: string, high: string, isStrict: boolean][] = [
  ['minimum', 'maximum', false],
  ['exclusiveMinimum', 'exclusiveMaximum', true],
  ['exclusiveMinimum', 'maximum', true],
  ['minimum', 'exclusiveMaximum', true],
  ['minLength', 'maxLength', false],
  ['minItems', 'maxItems', false],
];

function boundProblems(value: Loose, path: string): ErrorDetail[] {
  return bounds.flatMap(([low, high, isStrict]) => {
    const [min, max] = [value[low], value[high]];
    if (typeof min !== 'number' || typeof max !== 'number') return [];
    if (isStrict ? min < max : min <= max) return [];
    return [
      {
        path: `${path}.${high}`,
        message: `No value is allowed: ${low} is ${min}.`,
        found: String(max),
        allowed: `${isStrict ? 'above' : 'at least'} ${min}, or a lower ${low}`,
      },
    ];
  });
}

/** Returns why a text is not a pattern in RE2 syntax, if so. */
export function patternProblems(source: unknown, path: string): ErrorDetail[] {
  if (typeof source !== 'string') return [];
  const pattern = compilePattern(source);
  if (isPattern(pattern)) return [];
  const place = pattern.column === undefined ? '' : `Character ${pattern.column}: `;
  return [
    {
      path,
      message: `${place}${pattern.message}`,
      found: shown(source),
      allowed: 'a regular expression in RE2 syntax (https://github.com/google/re2/wiki/Syntax)',
    },
  ];
}

function secretProblems(value: Loose, path: string): ErrorDetail[] {
  if (value.secret !== true) return [];
  const refuse = (word: string, message: string) =>
    value[word] === undefined ? [] : [{ path: `${path}.${word}`, message }];
  return [
    ...refuse(
      'default',
      'A secret can’t have a default, because every version of the job would contain it; leave it out.',
    ),
    ...refuse('enum', 'A secret with a few known values is not secret; leave out enum or secret.'),
  ];
}

function enumProblems(
  value: Loose,
  type: ParameterType,
  path: string,
  patterns: PatternBudget,
): ErrorDetail[] {
  if (!Array.isArray(value.enum)) return [];
  const definition = { ...value, enum: undefined };
  const sound = isSound(definition) ? definition : undefined;
  const problems: ErrorDetail[] = [];
  // The schema reports a list that is too long.
  for (const [at, one] of value.enum.slice(0, limits.maxEnumValues).entries()) {
    const here = `${path}.enum[${at}]`;
    if (!isOfType(one, type)) {
      problems.push({
        path: here,
        message: `Must be of the type of ${path}, ${type}.`,
        found: shown(one),
        allowed: `values of type ${type}`,
      });
    } else if (sound !== undefined) problems.push(...valueErrors(one, sound, here, patterns));
    if (problems.length >= maxEnumProblems) break;
  }
  return problems;
}

/** As many as are reported for a whole definition. */
const maxEnumProblems = 50;

function defaultProblems(value: Loose, path: string, depth: number, patterns: PatternBudget): ErrorDetail[] {
  if (value.default === undefined || value.secret === true) return [];
  const problems: ErrorDetail[] = [];
  if (value.required === true) {
    problems.push({
      path: `${path}.required`,
      message: `With a default it is never missing; leave out ${depth === 1 ? 'one of the two' : 'required or default'}.`,
      found: 'true',
      allowed: 'required without default, or default without required',
    });
  }
  if (!isSound(value)) return problems;
  return [...problems, ...valueErrors(value.default, value, `${path}.default`, patterns)];
}

/** Checks a value that the definition itself contains against the definition. */
function valueErrors(
  value: unknown,
  definition: ValueDefinition,
  path: string,
  patterns: PatternBudget,
): ErrorDetail[] {
  const check: ValueCheck = {
    errors: [],
    patterns,
    nodesLeft: limits.maxParameterBytes,
  };
  // Defaults are filled in within a copy; a text or number needs none.
  checkValue(check, typeof value === 'object' ? structuredClone(value) : value, definition, '');
  return check.errors.length === 0 ? [] : errorDetails(check.errors, { root: path });
}

const numberWords = [
  'minimum',
  'maximum',
  'exclusiveMinimum',
  'exclusiveMaximum',
  'minLength',
  'maxLength',
  'minItems',
  'maxItems',
];

/**
 * Whether every keyword has the type that the schema requires, so that values can be checked against the definition.
 */
function isSound(definition: unknown): definition is ValueDefinition & Loose {
  if (!isObject(definition) || !parameterTypes.some((type) => type === definition.type)) return false;
  const { enum: values, pattern, format, items, properties, multipleOf } = definition;
  return (
    numberWords.every((word) => definition[word] === undefined || Number.isFinite(definition[word])) &&
    (values === undefined || Array.isArray(values)) &&
    (pattern === undefined || (typeof pattern === 'string' && isPattern(compilePattern(pattern)))) &&
    (format === undefined || typeof format === 'string') &&
    (multipleOf === undefined || (typeof multipleOf === 'number' && multipleOf > 0)) &&
    (items === undefined || isSound(items)) &&
    (properties === undefined || (isObject(properties) && Object.values(properties).every(isSound)))
  );
}

/** Keywords that make no sense for the items of a list. */
function itemProblems(items: Loose, path: string): ErrorDetail[] {
  return ['default', 'required']
    .filter((word) => items[word] !== undefined)
    .map((word) => ({
      path: `${path}.${word}`,
      message: `An item of a list is either there or not, so ${word} has no meaning; leave it out.`,
    }));
}

function propertyProblems(
  properties: Loose,
  path: string,
  depth: number,
  patterns: PatternBudget,
): ErrorDetail[] {
  return Object.entries(properties).flatMap(([name, property]) => {
    const at = `${path}.${name}`;
    return [
      ...reservedProblem(name, at, 'property'),
      ...(isObject(property) ? valueProblems(property, at, depth + 1, patterns) : []),
    ];
  });
}

function isObject(value: unknown): value is Loose {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function shown(value: unknown): string {
  const text = typeof value === 'string' ? visibleJson(value) : (JSON.stringify(value) ?? '');
  return text.length <= 60 ? text : `${text.slice(0, 59)}…`;
}
