// Checks the rules between parameters against the values of a run.
import type { ErrorDetail } from '../api/errors.ts';
import type { ParameterRule, Parameters } from '../api/jobs/parameters.ts';
import { visibleJson } from '../api/text.ts';
import { type CompiledExpression, type Evaluation, readExpression } from '../expressions/expression.ts';
import { celValues, PreparedValues } from '../expressions/scope.ts';
import { limits } from '../limits.ts';

interface GivenValues {
  parameters: Parameters;
  values: Record<string, unknown>;
  /** Names of parameters that have a sealed value, which is not among the values. */
  sealed: ReadonlySet<string>;
  /** Names of parameters that are invalid themselves: rules that refer to them are not evaluated. */
  broken: ReadonlySet<string>;
  /** Path of the values, with which the paths of problems begin. */
  root: string;
}

/** Returns what is wrong with the values according to the rules. */
export function ruleProblems(
  rules: readonly ParameterRule[],
  { parameters, values, sealed, broken, root }: GivenValues,
): ErrorDetail[] {
  const evaluate = withinBudget(parameters, values);
  const isGiven = (name: string) => Object.hasOwn(values, name) || sealed.has(name);
  return rules.flatMap((rule, at): ErrorDetail[] => {
    const when = rule.when === undefined ? undefined : read(rule.when, parameters, []);
    const check = rule.check === undefined ? undefined : read(rule.check, parameters, when?.asked ?? []);
    if ([when, check].some((one) => one !== undefined && speaksOf(one, broken))) return [];
    if (when !== undefined) {
      const holds = evaluate(when);
      if (!holds.ok) return [{ path: root, message: `Rule ${at + 1} can’t be checked: ${holds.message}` }];
      if (!holds.value) return [];
    }
    const missing = (rule.require ?? [])
      .filter((name) => !isGiven(name) && !broken.has(name))
      .map((name) => ({
        path: `${root}.${name}`,
        message: rule.message ?? `Is missing; rule ${at + 1} requires it here.`,
      }));
    return check === undefined
      ? missing
      : [...missing, ...checkProblems(check, rule, at, { values, root, evaluate })];
  });
}

/** Returns a function that evaluates expressions for one run, until all rules together have cost too much. */
function withinBudget(
  parameters: Parameters,
  values: Record<string, unknown>,
): (expression: CompiledExpression) => Evaluation {
  const prepared = new PreparedValues(celValues({ parameters }, { parameters: values }));
  let left = limits.maxRuleSteps;
  return (expression) => {
    if (left <= 0)
      return { ok: false, message: 'The rules before it used up all that rules may cost.', steps: 0 };
    const result = expression.evaluate(prepared);
    left -= result.steps;
    return result;
  };
}

function checkProblems(
  check: CompiledExpression,
  { message }: ParameterRule,
  at: number,
  {
    values,
    root,
    evaluate,
  }: Pick<GivenValues, 'values' | 'root'> & { evaluate: (expression: CompiledExpression) => Evaluation },
): ErrorDetail[] {
  const result = evaluate(check);
  const names = parametersOf(check);
  const only = names.length === 1 && names[0] !== undefined ? `${root}.${names[0]}` : root;
  if (!result.ok) return [{ path: only, message: `Rule ${at + 1} can’t be checked: ${result.message}` }];
  if (result.value) return [];
  const found = names
    .filter((name) => Object.hasOwn(values, name))
    .map((name) => `${names.length === 1 ? '' : `${name} = `}${shown(values[name])}`)
    .join(', ');
  return [
    {
      path: only,
      message: message ?? `Rule ${at + 1} does not hold.`,
      ...(found === '' ? {} : { found }),
      allowed: `\`${check.text}\``,
    },
  ];
}

/** `undefined` for an expression that was not accepted when the job was saved; that was reported then. */
function read(
  text: string,
  parameters: Parameters,
  asked: readonly string[],
): CompiledExpression | undefined {
  const read = readExpression(text, { parameters }, { asked });
  return 'expression' in read ? read.expression : undefined;
}

function parametersOf(expression: CompiledExpression): string[] {
  return [...new Set(expression.names.map((name) => name.split('.')[1] ?? ''))];
}

function speaksOf(expression: CompiledExpression, names: ReadonlySet<string>): boolean {
  return parametersOf(expression).some((name) => names.has(name));
}

function shown(value: unknown): string {
  const text = typeof value === 'string' ? visibleJson(value) : (JSON.stringify(value) ?? '');
  return text.length <= 60 ? text : `${text.slice(0, 59)}…`;
}
