// Checks the rules between parameters when a job is saved.
import type { ErrorDetail } from '../api/errors.ts';
import type { ParameterRule, Parameters } from '../api/jobs/parameters.ts';
import { type ExpressionProblem, readExpression, toldWithPlace } from '../expressions/expression.ts';
import type { ExpressionScope } from '../expressions/scope.ts';
import { nearName } from '../validation-wording.ts';

/** Returns what is wrong with the rules of a definition with valid parameters, apart from what their schema reports. */
export function checkRules(
  rules: readonly ParameterRule[],
  parameters: Parameters,
  path = 'rules',
): ErrorDetail[] {
  return rules.flatMap((rule, at) => {
    const here = `${path}[${at}]`;
    const when = rule.when === undefined ? undefined : readExpression(rule.when, { parameters });
    const asked = when !== undefined && 'expression' in when ? when.expression.asked : [];
    return [
      ...formProblems(rule, here),
      ...(when !== undefined && 'problems' in when ? told(when.problems, `${here}.when`) : []),
      ...expressionProblems(rule.check, { parameters }, `${here}.check`, asked),
      ...requireProblems(rule, parameters, here),
    ];
  });
}

/** Returns what is wrong with an expression in a definition. */
export function expressionProblems(
  text: string | undefined,
  scope: ExpressionScope,
  path: string,
  asked: readonly string[] = [],
): ErrorDetail[] {
  if (text === undefined) return [];
  const read = readExpression(text, scope, { asked });
  return 'problems' in read ? told(read.problems, path) : [];
}

function told(problems: readonly ExpressionProblem[], path: string): ErrorDetail[] {
  return problems.map((problem) => ({
    path,
    message: toldWithPlace(problem),
    ...(problem.found === undefined ? {} : { found: problem.found }),
    ...(problem.allowed === undefined ? {} : { allowed: problem.allowed }),
  }));
}

function formProblems({ check, require }: ParameterRule, path: string): ErrorDetail[] {
  if ((check === undefined) !== (require === undefined)) return [];
  return [
    {
      path,
      message:
        check === undefined
          ? 'A rule says what must hold: give `check` or `require`.'
          : 'A rule has one of `check` and `require`; make two rules of it.',
      allowed: '`check` with an expression, or `require` with names of parameters',
    },
  ];
}

function requireProblems(
  { require = [], when }: ParameterRule,
  parameters: Parameters,
  path: string,
): ErrorDetail[] {
  return require.flatMap((name, at) => {
    const here = `${path}.require[${at}]`;
    const parameter = Object.hasOwn(parameters, name) ? parameters[name] : undefined;
    if (parameter === undefined) {
      const names = Object.keys(parameters);
      const near = nearName(name, names);
      const message = `There is no parameter ${name}${near === undefined ? '.' : `; did you mean ${near}?`}`;
      return [
        { path: here, message, ...(names.length === 0 ? {} : { allowed: names.slice(0, 12).join(', ') }) },
      ];
    }
    if (parameter.required === false && parameter.default === undefined) {
      return when === undefined
        ? [{ path: here, message: `Always required: say so at the parameter, without \`required: false\`.` }]
        : [];
    }
    return [
      {
        path: here,
        message: `${name} always has a value; only a parameter with \`required: false\` and no default can be missing.`,
      },
    ];
  });
}
