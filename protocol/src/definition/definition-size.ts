// How much work a definition would make for whoever checks it, all of it together. Its parts have limits of their own, but a
// hundred parts at their limits take seconds; so this is counted first, which takes no time, and told alone.
import type { ErrorDetail } from '../api/common.ts';
import { limits } from '../limits.ts';
import { expandedSize } from '../patterns/expanded-size.ts';
import { isObject, looseDefinition } from './loose.ts';

/** What there is too much of in all, with the place from where on it is too much; none where all can be looked at. */
export function sizeProblems(definition: unknown): ErrorDetail[] {
  if (!hasAtMostValues(definition, limits.maxDefinitionValues)) {
    const message = `The definition has more than ${inWords(limits.maxDefinitionValues)} values, all lists and objects together. Keep what is so long in a file on the host or behind a step, and leave it out here.`;
    return [{ path: '', message, allowed: `at most ${inWords(limits.maxDefinitionValues)} values` }];
  }
  const loose = looseDefinition(definition);
  const { rules } = loose;
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
  return [
    ...beyond(
      conditions,
      (text) => upTo(limits.maxExpressionLength, text.length),
      limits.maxDefinitionExpressionLength,
      (max) =>
        `The conditions and checks up to here have more than ${max} characters together; write shorter ones, or let a step decide.`,
    ),
    ...beyond(
      patterns,
      (text) => upTo(limits.maxPatternSize, expandedSize(text)),
      limits.maxDefinitionPatternSize,
      (max) =>
        `The patterns up to here come to more than ${max} together with their repetitions written out (\`x{100}\` counts as 100); say lengths by minLength and maxLength, or use simpler patterns.`,
    ),
    ...beyond(
      outputs,
      () => 1,
      limits.maxOutputsPerJob,
      (max) =>
        `A job has ${max} outputs at most, those of all steps together; hand several on as one, such as a JSON text.`,
    ),
  ];
}

type Place<T = unknown> = [path: string, what: T];

/** The first place at which the sum goes beyond what is allowed. */
function beyond<T>(
  places: readonly Place<T>[],
  costOf: (what: T) => number,
  max: number,
  message: (max: string) => string,
): ErrorDetail[] {
  let sum = 0;
  for (const [path, what] of places) {
    sum += costOf(what);
    if (sum > max) return [{ path, message: message(inWords(max)), allowed: `${inWords(max)} in all` }];
  }
  return [];
}

/** What is too large by itself is told of as that, and not looked into. */
function upTo(max: number, size: number): number {
  return size > max ? 0 : size;
}

function textsAt(holder: unknown, word: string, path: string): Place<string>[] {
  const text = isObject(holder) ? holder[word] : undefined;
  return typeof text === 'string' ? [[`${path}.${word}`, text]] : [];
}

/** Patterns of a parameter and of what is inside it. */
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

function hasAtMostValues(value: unknown, max: number): boolean {
  const waiting: unknown[] = [value];
  for (let seen = 0; waiting.length > 0; seen++) {
    const next = waiting.pop();
    if (typeof next !== 'object' || next === null) continue;
    const inner = Object.values(next);
    if (seen + waiting.length + inner.length > max) return false;
    for (const one of inner) waiting.push(one);
  }
  return true;
}

function inWords(count: number): string {
  return count.toLocaleString('en');
}
