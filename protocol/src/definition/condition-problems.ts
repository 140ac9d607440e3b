// Rules and conditions, as far as the parameters that they speak of are right.
import type { ErrorDetail } from '../api/common.ts';
import type { ParameterRule, Parameters, StepOutput } from '../api/parameters.ts';
import type { ExpressionScope } from '../expressions/scope.ts';
import { checkParameters } from '../parameters/check-parameters.ts';
import { checkRules, expressionProblems } from '../parameters/check-rules.ts';
import { isObject, type LooseDefinition, type LooseStep } from './loose.ts';

export function conditionProblems(definition: LooseDefinition, broken: ReadonlySet<string>): ErrorDetail[] {
  const all = isObject(definition.parameters) ? definition.parameters : {};
  const sound = Object.entries(all).filter(([name, one]) => isObject(one) && !broken.has(name));
  const parameters = Object.fromEntries(sound) as Parameters;
  const rules = Array.isArray(definition.rules) ? definition.rules : [];
  return [
    ...rules.flatMap((rule, at) => {
      if (!isRule(rule) || speaksOf(JSON.stringify(rule), broken)) return [];
      return checkRules([rule], parameters, '').map((one) => ({
        ...one,
        path: one.path.replace('[0]', `rules[${at}]`),
      }));
    }),
    ...definition.steps.flatMap(({ when }, at) => {
      if (typeof when !== 'string' || when === '' || speaksOf(when, broken)) return [];
      const scope: ExpressionScope = { parameters, onTarget: { steps: stepsBefore(definition.steps, at) } };
      return expressionProblems(when, scope, `steps[${at}].when`);
    }),
  ];
}

/** Names of parameters that are wrong in themselves. */
export function brokenParameters(parameters: unknown, problems: readonly ErrorDetail[]): Set<string> {
  const own = [...problems, ...checkParameters(parameters)];
  const names = own.map(({ path }) => /^parameters\.(\w+)|^parameters\["([^"]*)"\]/.exec(path));
  return new Set(names.flatMap((name) => name?.[1] ?? name?.[2] ?? []));
}

function isRule(rule: unknown): rule is ParameterRule {
  if (!isObject(rule)) return false;
  const { when, check, require, message } = rule;
  const isText = (one: unknown) => one === undefined || (typeof one === 'string' && one !== '');
  const isNames = Array.isArray(require) && require.every((name) => typeof name === 'string');
  return isText(when) && isText(check) && (require === undefined || isNames) && isText(message);
}

function speaksOf(text: string, names: ReadonlySet<string>): boolean {
  const words: Set<string> = new Set(text.match(/\w+/g) ?? []);
  return [...names].some((name) => words.has(name));
}

/** Outputs of the steps before one, by what these are called by. */
function stepsBefore(
  steps: readonly LooseStep[],
  at: number,
): NonNullable<ExpressionScope['onTarget']>['steps'] {
  const mayFollowFailure = !runsOnSuccessAlone(steps[at]);
  const before = steps.slice(0, at).flatMap((step) => {
    const call = step.id ?? step.name;
    if (typeof call !== 'string') return [];
    const mayBeAbsent = mayFollowFailure || step.when !== undefined || !runsOnSuccessAlone(step);
    const outputs = Object.entries(isObject(step.outputs) ? step.outputs : {}).map(([name, output]) => {
      const { secret } = Object(output) as StepOutput;
      return [name, { mayBeAbsent, ...(secret === true ? { secret } : {}) }] as const;
    });
    return [[call, { outputs: Object.fromEntries(outputs) }] as const];
  });
  return Object.fromEntries(before);
}

function runsOnSuccessAlone(step: LooseStep | undefined): boolean {
  return step?.when_status === undefined || step.when_status === 'success';
}
