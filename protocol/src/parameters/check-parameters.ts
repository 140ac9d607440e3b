// What the schema of a definition can't say of its parameters: that they agree with themselves. All of it at once, also
// where other things are wrong, so nothing is taken for granted about what is looked at.
import type { ErrorDetail } from '../api/common.ts';
import { type ParameterType, parameterTypes, type ValueDefinition } from '../api/jobs/parameters.ts';
import { visibleJson } from '../api/text.ts';
import { limits } from '../limits.ts';
import { compilePattern, isPattern, PatternBudget } from '../patterns/pattern.ts';
import { errorDetails } from '../validation.ts';
import { checkValue, isOfType, type ValueCheck } from './check-value.ts';
import { reservedProblem } from './reserved-names.ts';

type Loose = { [word: string]: unknown };

/** Words that say something of one type only. */
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

/** What is wrong with the parameters of a definition, beside what their schema says. */
export function checkParameters(parameters: unknown, path = 'parameters'): ErrorDetail[] {
  if (!isObject(parameters)) return [];
  // For all of them together: a thousand values may each be compared with a pattern.
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

/** What keeps a text from being a pattern in RE2 syntax. */
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
      'A secret has no default, which would stand in every version of the job; leave it out.',
    ),
    ...refuse('enum', 'A secret of a few known values is none; leave out enum or secret.'),
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
  // More than there may be are told of by the schema.
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

/** More are not told of a whole definition. */
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

/** A value that the definition itself has, against what the definition says. */
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
  // Defaults are filled into a copy; a text or number needs none.
  checkValue(check, typeof value === 'object' ? structuredClone(value) : value, definition, '');
  return check.errors.length === 0 ? [] : errorDetails(check.errors, { root: path });
}

/** Whether every word has the type that the schema asks for, so that values can be held against it. */
function isSound(definition: unknown): definition is ValueDefinition & Loose {
  if (!isObject(definition) || !parameterTypes.some((type) => type === definition.type)) return false;
  const { enum: values, pattern, format, items, properties, multipleOf } = definition;
  return (
    (values === undefined || Array.isArray(values)) &&
    (pattern === undefined || (typeof pattern === 'string' && isPattern(compilePattern(pattern)))) &&
    (format === undefined || typeof format === 'string') &&
    (multipleOf === undefined || (typeof multipleOf === 'number' && multipleOf > 0)) &&
    (items === undefined || isSound(items)) &&
    (properties === undefined || (isObject(properties) && Object.values(properties).every(isSound)))
  );
}

/** Words that make no sense for what is inside a list. */
function itemProblems(items: Loose, path: string): ErrorDetail[] {
  return ['default', 'required']
    .filter((word) => items[word] !== undefined)
    .map((word) => ({
      path: `${path}.${word}`,
      message: `An item of a list is there or not; ${word} says nothing of it. Leave it out.`,
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
