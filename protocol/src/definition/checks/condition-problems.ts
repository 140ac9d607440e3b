// Checks rules and conditions, except those that refer to parameters which are themselves wrong.
import type { ErrorDetail } from '../../api/errors.ts';
import type { ParameterRule } from '../../api/jobs/parameters.ts';
import { limits } from '../../limits.ts';
import { checkRules, expressionProblems } from '../../parameters/check-rules.ts';
import { scopeOf } from '../../rendering/placeholders/scope.ts';
import { isObject, type LooseDefinition } from './loose.ts';
import type { SoundDefinition } from './sound.ts';

/**
 * Returns what is wrong with the rules between parameters and with the conditions (`when`) of steps.
 * @param broken parameters that are themselves wrong: nothing is said of what refers to them
 */
export function conditionProblems(
  definition: LooseDefinition,
  sound: SoundDefinition,
  broken: ReadonlySet<string>,
): ErrorDetail[] {
  const { parameters } = sound;
  // If the parameters can't be read at all, rules about them can't be judged.
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

/** Stands for all parameters: the word with which each reference to one begins. */
const allParameters = 'parameters';

/** Returns the names of the parameters with these problems; if all are affected together, just that word. */
export function brokenParameters(problems: readonly ErrorDetail[], parameters: unknown): Set<string> {
  if (parameters !== undefined && !isObject(parameters)) return new Set([allParameters]);
  const names = problems.map(({ path }) => /^parameters\.(\w+)|^parameters\["([^"]*)"\]/.exec(path));
  return new Set(names.flatMap((name) => name?.[1] ?? name?.[2] ?? []));
}

/** The schema reports a longer one. */
const maxNameLength = 64;

/** Whether the schema accepts the text. */
function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && value.length <= limits.maxExpressionLength;
}

function isRule(rule: unknown): rule is ParameterRule {
  if (!isObject(rule)) return false;
  const { when, check, require, message } = rule;
  const isNames =
    Array.isArray(require) &&
    require.every((name) => typeof name === 'string' && name.length <= maxNameLength);
  return (
    [when, check, message].every((one) => one === undefined || isText(one)) &&
    (require === undefined || isNames)
  );
}

/** Whether a text contains one of the names as a word. */
export function speaksOf(text: string, names: ReadonlySet<string>): boolean {
  const words: Set<string> = new Set(text.match(/\w+/g) ?? []);
  return [...names].some((name) => words.has(name));
}
