// Conditions and checks written by authors in CEL (https://cel.dev): parsed, checked against what is declared, and
// evaluated within bounds. Problems are reported with their place in the text.
import type { ASTNode } from '@marcbachmann/cel-js';
import { limits } from '../limits.ts';
import { newEnvironment, putUnderMeter, replaceFunctions } from './environment.ts';
import { metered, TooCostly } from './meter.ts';
import { namesOf, nodeProblems } from './names.ts';
import {
  celValues,
  declare,
  type ExpressionScope,
  type ExpressionValues,
  membersOf,
  namedScope,
  type PreparedValues,
} from './scope.ts';
import { describeCelError, type ExpressionProblem, placed, wordsOfType } from './wording.ts';

export type { ExpressionProblem };

export interface CompiledExpression {
  text: string;
  /** The paths that it names, such as `parameters.a.b`. */
  names: readonly string[];
  /** The paths for which it asks `has(…)`. */
  asked: readonly string[];
  evaluate(values: ExpressionValues | PreparedValues): Evaluation;
}
export type Evaluation =
  | { ok: true; value: boolean; steps: number }
  | { ok: false; message: string; steps: number };

export type ReadExpression = { expression: CompiledExpression } | { problems: ExpressionProblem[] };

export interface ReadOptions {
  /** Paths whose presence was checked before, for example in the `when` of a rule for its `check`. */
  asked?: readonly string[];
  /** For evaluation at run time: `has(…)` isn't required for what may be absent; evaluating reports it if it is. */
  mayBeAbsent?: boolean;
}

/** Parses an expression that must be true or false. */
export function readExpression(
  text: string,
  scope: ExpressionScope,
  options: ReadOptions = {},
): ReadExpression {
  if (text.length > limits.maxExpressionLength) {
    return {
      problems: [
        placed(text, 0, `Has ${text.length} characters; ${limits.maxExpressionLength} are allowed.`),
      ],
    };
  }
  const named = namedScope(scope, text);
  const environment = declare(newEnvironment(), named);
  const parsed = attempt(() => environment.parse(text));
  if ('error' in parsed) return { problems: [describeCelError(parsed.error, text)] };
  const run = parsed.value;
  const { ast } = run as { ast: ASTNode };
  // The whole scope is built only if something is not found in it, to suggest what was meant.
  if (nodeProblems(ast, text, membersOf(named), options).length > 0) {
    const problems = nodeProblems(ast, text, membersOf(scope), options);
    if (problems.length > 0) return { problems };
  }
  const { names, asked } = namesOf(ast);
  replaceFunctions(ast);
  const checked = run.check();
  if (!checked.valid) return { problems: [describeCelError(checked.error, text)] };
  if (checked.type !== 'bool' && checked.type !== 'dyn') {
    return {
      problems: [placed(text, 0, `Must be true or false; this is ${wordsOfType(String(checked.type))}.`)],
    };
  }
  putUnderMeter(ast);
  return {
    expression: { text, names, asked, evaluate: (values) => evaluate(run, text, celValues(scope, values)) },
  };
}

type Runs = (values: Record<string, unknown>) => unknown;

function evaluate(run: Runs, text: string, values: Record<string, unknown>): Evaluation {
  const result = metered(() => run(values));
  const { steps } = result;
  if ('error' in result) {
    const message =
      result.error instanceof TooCostly
        ? 'Costs more than an expression may: its values are too large for what it does with them.'
        : toldWithPlace(describeCelError(result.error, text));
    return { ok: false, message, steps };
  }
  if (typeof result.value === 'boolean') return { ok: true, value: result.value, steps };
  return { ok: false, message: 'Resulted in neither true nor false.', steps };
}

function attempt<T>(run: () => T): { value: T } | { error: unknown } {
  try {
    return { value: run() };
  } catch (error) {
    return { error };
  }
}

/** Renders a problem as one text: its place, then its sentence. */
export function toldWithPlace({ line, column, message }: ExpressionProblem): string {
  return line === 1 ? `Column ${column}: ${message}` : `Line ${line}, column ${column}: ${message}`;
}
