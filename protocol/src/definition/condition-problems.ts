// Rules and conditions, as far as the parameters that they speak of are right.
import type { ErrorDetail } from '../api/common.ts';
import type { ParameterRule } from '../api/jobs/parameters.ts';
import { limits } from '../limits.ts';
import { checkRules, expressionProblems } from '../parameters/check-rules.ts';
import { scopeOf } from '../rendering/scope.ts';
import { isObject, type LooseDefinition } from './loose.ts';
import type { SoundDefinition } from './sound.ts';

export function conditionProblems(
  definition: LooseDefinition,
  sound: SoundDefinition,
  broken: ReadonlySet<string>,
): ErrorDetail[] {
  const { parameters } = sound;
  // Of parameters that can't be read at all a rule can't be wrong.
  const rules = Array.isArray(definition.rules) && !broken.has(allParameters) ? definition.rules : [];
  return [
    ...rules.flatMap((rule, at) => {
      if (!isRule(rule) || speaksOf(JSON.stringify(rule), broken)) return [];
      const problems = checkRules([rule], parameters, '');
      return problems.map((one) => ({ ...one, path: one.path.replace('[0]', `rules[${at}]`) }));
    }),
    ...definition.steps.flatMap(({ when }, at) => {
      if (!isText(when) || speaksOf(when, broken)) return [];
      const { steps } = scopeOf(sound, at);
      return expressionProblems(when, { parameters, onTarget: { steps } }, `steps[${at}].when`);
    }),
  ];
}

/** Stands for all of them, as the word that begins each reference to one. */
const allParameters = 'parameters';

/** Names of the parameters of which these are told; where it is told of all of them together, that word. */
export function brokenParameters(problems: readonly ErrorDetail[], parameters: unknown): Set<string> {
  if (parameters !== undefined && !isObject(parameters)) return new Set([allParameters]);
  const names = problems.map(({ path }) => /^parameters\.(\w+)|^parameters\["([^"]*)"\]/.exec(path));
  return new Set(names.flatMap((name) => name?.[1] ?? name?.[2] ?? []));
}

/** One that the schema finds nothing wrong with. */
function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && value.length <= limits.maxExpressionLength;
}

function isRule(rule: unknown): rule is ParameterRule {
  if (!isObject(rule)) return false;
  const { when, check, require, message } = rule;
  const isNames = Array.isArray(require) && require.every((name) => typeof name === 'string');
  return (
    [when, check, message].every((one) => one === undefined || isText(one)) &&
    (require === undefined || isNames)
  );
}

/** Whether a text has one of the names as a word. */
export function speaksOf(text: string, names: ReadonlySet<string>): boolean {
  const words: Set<string> = new Set(text.match(/\w+/g) ?? []);
  return [...names].some((name) => words.has(name));
}
