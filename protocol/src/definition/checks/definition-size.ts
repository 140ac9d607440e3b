// Estimates the total work of checking a definition. Its parts have limits of their own, but a hundred parts at their
// limits would take seconds. So this is counted first, which is quick, and an excess is the only problem reported.
import type { ErrorDetail } from '../../api/errors.ts';
import { limits } from '../../limits.ts';
import { expandedSize } from '../../patterns/expanded-size.ts';
import { isObject, type LooseDefinition, looseDefinition } from './loose.ts';

/** Returns what exceeds a total limit, and the place where it does; empty if the definition can be checked. */
export function sizeProblems(definition: unknown): ErrorDetail[] {
  if (countValues(definition) > limits.maxDefinitionValues) {
    const message = `The definition has more than ${inWords(limits.maxDefinitionValues)} values in all its lists and objects together. Keep what is so long in a file on the host, or let a step produce it, and leave it out here.`;
    return [{ path: '', message, allowed: `at most ${inWords(limits.maxDefinitionValues)} values` }];
  }
  const counted = countedIn(definition);
  const each = counted.flatMap((one) => one.beyond);
  return each.length > 0 ? each : altogether(counted.filter(({ what }) => what !== outputsCounted));
}

const outputsCounted = 'outputs';

/** Returns what the parts of a definition take, each with its bound. */
function countedIn(definition: unknown): Counted[] {
  const { placeholders, scripts, conditions, outputs, patterns } = partsOf(looseDefinition(definition));
  return [
    {
      what: 'values',
      sum: countValues(definition),
      max: limits.maxDefinitionValues,
      beyond: [],
    },
    count(
      'characters of conditions and checks',
      conditions.map(([path, text]) => [path, upTo(limits.maxExpressionLength, text.length)]),
      limits.maxDefinitionExpressionLength,
      (max) =>
        `The conditions and checks up to here have more than ${max} characters together; write shorter ones, or let a step decide.`,
    ),
    count(
      'the size of patterns',
      patterns.map(([path, text]) => [path, upTo(limits.maxPatternSize, expandedSize(text))]),
      limits.maxDefinitionPatternSize,
      (max) =>
        `The patterns up to here have a size of more than ${max} together, with repetitions written out (\`x{100}\` counts as 100); give lengths by minLength and maxLength, or use simpler patterns.`,
    ),
    count(
      outputsCounted,
      outputs.map(([path]) => [path, 1]),
      limits.maxOutputsPerJob,
      (max) =>
        `A job can have at most ${max} outputs, counting all its steps; hand on several as one, such as a JSON text.`,
    ),
    count(
      'placeholders',
      placeholders,
      limits.maxDefinitionPlaceholders,
      (max) =>
        `The steps up to here have more than ${max} placeholders together; put a value into one variable and use that, or make it two jobs.`,
    ),
    count(
      'characters of scripts with values',
      scripts.map(([path, text]) => [path, text.length]),
      limits.maxDefinitionScriptLength,
      (max) =>
        `The scripts with values up to here have more than ${max} characters together; keep a long one in a file on the host, and pass the values to it.`,
    ),
  ];
}

/** Returns the parts that are bounded, with their places. */
function partsOf(loose: LooseDefinition) {
  const { rules } = loose;
  const placeholders = loose.steps.map(
    (step, at): Place<number> => [`steps[${at}].config`, placeholdersIn(step.config)],
  );
  // A script is analyzed only if values go into it, or into its input.
  const scripts = loose.steps.flatMap((step, at) =>
    placeholders[at]?.[1] === 0 ? [] : textsAt(step.config, 'command', `steps[${at}].config`),
  );
  const conditions = [
    ...(Array.isArray(rules) ? rules : []).flatMap((rule: unknown, at) => [
      ...textsAt(rule, 'when', `rules[${at}]`),
      ...textsAt(rule, 'check', `rules[${at}]`),
    ]),
    ...loose.steps.flatMap((step, at) => textsAt(step, 'when', `steps[${at}]`)),
  ];
  const outputs = loose.steps.flatMap((step, at) =>
    Object.entries(isObject(step.outputs) ? step.outputs : {}).map(
      ([name, output]): Place => [`steps[${at}].outputs.${name}`, output],
    ),
  );
  const patterns = [
    ...Object.entries(isObject(loose.parameters) ? loose.parameters : {}).flatMap(([name, one]) =>
      patternsIn(one, `parameters.${name}`, 1),
    ),
    ...outputs.flatMap(([path, output]) => textsAt(output, 'pattern', path)),
  ];
  return { placeholders, scripts, conditions, outputs, patterns };
}

interface Counted {
  what: string;
  sum: number;
  max: number;
  /** Where the limit is exceeded. */
  beyond: ErrorDetail[];
}

/** Counts up to the first place at which the sum exceeds the limit. */
function count(
  what: string,
  places: readonly Place<number>[],
  max: number,
  message: (max: string) => string,
): Counted {
  let sum = 0;
  for (const [path, size] of places) {
    sum += size;
    if (sum > max) {
      const beyond = [{ path, message: message(inWords(max)), allowed: `${inWords(max)} in all` }];
      return { what, sum, max, beyond };
    }
  }
  return { what, sum, max, beyond: [] };
}

/**
 * Each kind at its limit takes as long as one check may, so the shares of all kinds together must not exceed 100 %.
 * Outputs don't count: apart from their patterns they take no time.
 */
function altogether(counted: readonly Counted[]): ErrorDetail[] {
  const shares = counted.map(({ what, sum, max }) => ({ what, sum, max, percent: (100 * sum) / max }));
  const percent = shares.reduce((all, one) => all + one.percent, 0);
  if (percent <= 100) return [];
  const told = shares
    .filter((one) => one.percent >= 1)
    .sort((a, b) => b.percent - a.percent)
    .map(({ what, sum, max }) => `${what}: ${inWords(sum)} of ${inWords(max)}`);
  return [
    {
      path: '',
      message: `The definition is too large to be checked: its parts come to ${Math.ceil(percent)} % of what is allowed together. Shorten the largest part, or make it two jobs.`,
      found: told.join('; '),
      allowed: '100 % in all',
    },
  ];
}

type Place<T = unknown> = [path: string, what: T];

/** Something too large by itself is reported as that and not analyzed, so it doesn't count here. */
function upTo(max: number, size: number): number {
  return size > max ? 0 : size;
}

function textsAt(holder: unknown, word: string, path: string): Place<string>[] {
  const text = isObject(holder) ? holder[word] : undefined;
  return typeof text === 'string' ? [[`${path}.${word}`, text]] : [];
}

/** Patterns of a parameter and of the values inside it. */
function patternsIn(value: unknown, path: string, depth: number): Place<string>[] {
  if (!isObject(value) || depth > limits.maxParameterDepth) return [];
  const { items, properties } = value;
  return [
    ...textsAt(value, 'pattern', path),
    ...patternsIn(items, `${path}.items`, depth + 1),
    ...Object.entries(isObject(properties) ? properties : {}).flatMap(([name, property]) =>
      patternsIn(property, `${path}.properties.${name}`, depth + 1),
    ),
  ];
}

/** Counts the values inside a value; stops at one more than is allowed. */
function countValues(value: unknown): number {
  const waiting: unknown[] = [value];
  let seen = 0;
  for (; waiting.length > 0; seen++) {
    const next = waiting.pop();
    if (typeof next !== 'object' || next === null) continue;
    const inner = Object.values(next);
    if (seen + waiting.length + inner.length > limits.maxDefinitionValues)
      return limits.maxDefinitionValues + 1;
    for (const one of inner) waiting.push(one);
  }
  return seen;
}

function placeholdersIn(value: unknown): number {
  if (typeof value === 'string') return value.split('${{').length - 1;
  if (typeof value !== 'object' || value === null) return 0;
  return Object.values(value).reduce((sum: number, inner) => sum + placeholdersIn(inner), 0);
}

function inWords(count: number): string {
  return count.toLocaleString('en');
}
