// Conditions and checks of authors, in CEL (https://cel.dev): read, checked against what is declared, evaluated within
// bounds. What is wrong with one is told with its place in the text.
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
  /** What it names, each as its path: `parameters.a.b`. */
  names: readonly string[];
  /** Those of which it asks `has(…)`. */
  asked: readonly string[];
  evaluate(values: ExpressionValues | PreparedValues): Evaluation;
}
export type Evaluation =
  | { ok: true; value: boolean; steps: number }
  | { ok: false; message: string; steps: number };

export type ReadExpression = { expression: CompiledExpression } | { problems: ExpressionProblem[] };

export interface ReadOptions {
  /** Paths of which it was asked before whether they are there, as by the `when` of a rule for its `check`. */
  asked?: readonly string[];
  /** At run time: what may be absent need not be asked for; where it is absent, evaluating says so. */
  mayBeAbsent?: boolean;
}

/** Reads an expression that must be true or false. */
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
  // All that there is only where something is not: to say what else was meant.
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
        ? 'Takes more than an expression may: its values are too large for what it does with them.'
        : toldWithPlace(describeCelError(result.error, text));
    return { ok: false, message, steps };
  }
  if (typeof result.value === 'boolean') return { ok: true, value: result.value, steps };
  return { ok: false, message: 'Came to neither true nor false.', steps };
}

function attempt<T>(run: () => T): { value: T } | { error: unknown } {
  try {
    return { value: run() };
  } catch (error) {
    return { error };
  }
}

/** A problem as one text: its place, then its sentence. */
export function toldWithPlace({ line, column, message }: ExpressionProblem): string {
  return line === 1 ? `Column ${column}: ${message}` : `Line ${line}, column ${column}: ${message}`;
}
