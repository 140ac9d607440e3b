// Regular expressions of authors: RE2 syntax, matched in linear time by re2js, never by the engine of JavaScript, which
// an expression of ten characters can hang. What they may cost is counted in steps (size of the program times length of
// the text), so that what is refused is refused everywhere alike, however fast the machine is.
import { RE2JS, RE2JSException } from 're2js';
import { limits } from '../limits.ts';
import { expandedSize } from './expanded-size.ts';

export interface Pattern {
  source: string;
  /** Steps for each character of a text. */
  size: number;
  /** The longest text that it is compared with, in UTF-16 units. */
  maxLength: number;
  /** Whether it matches somewhere in the text. The caller has looked at what that costs. */
  matches(text: string): boolean;
}

export interface PatternProblem {
  /** A sentence: what is wrong and what to write instead. */
  message: string;
  /** Where in the pattern, from 1 in UTF-16 units; undefined where it can't be told. */
  column?: number;
}

const kept = new Map<string, Pattern | PatternProblem>();
const maxKept = 500;

/** The pattern, or why it is none. */
export function compilePattern(source: string): Pattern | PatternProblem {
  const before = kept.get(source);
  if (before !== undefined) return before;
  const made = compile(source);
  // Forgotten in the order of their first use: they are few, and made again in a moment.
  if (kept.size >= maxKept) kept.delete(kept.keys().next().value ?? '');
  kept.set(source, made);
  return made;
}

export function isPattern(pattern: Pattern | PatternProblem): pattern is Pattern {
  return 'matches' in pattern;
}

function compile(source: string): Pattern | PatternProblem {
  if (expandedSize(source) > limits.maxPatternSize) return tooLarge;
  try {
    const expression = RE2JS.compile(source);
    const size = Math.max(1, expression.programSize());
    if (size > 3 * limits.maxPatternSize) return tooLarge;
    return {
      source,
      size,
      maxLength: Math.floor(limits.maxPatternSteps / size),
      matches: (text) => expression.test(text),
    };
  } catch (error) {
    if (error instanceof RE2JSException) return problemOf(error, source);
    throw error;
  }
}

const tooLarge: PatternProblem = {
  message: `Is too large with its repetitions written out (\`x{100}\` counts as 100); ${limits.maxPatternSize} are allowed. Say lengths by minLength and maxLength.`,
};

/** What other engines have and RE2 doesn't, since it could not be matched in linear time. */
const unsupported: [form: RegExp, message: string][] = [
  [/^\(\?[=!]/, 'Look-ahead is not supported; say it by a second check, such as a rule.'],
  [/^\(\?<[=!]/, 'Look-behind is not supported; say it by a second check, such as a rule.'],
  [/^\\[1-9]/, 'References to groups (`\\1`) are not supported; say it by a rule.'],
  [/^\\[gk]/, 'References to groups are not supported; say it by a rule.'],
  [/^\(\?>/, 'Atomic groups are not supported and not needed: nothing is tried twice. Write `(?:…)`.'],
  [/^\(\?\(/, 'Conditions in a pattern are not supported; say it by a rule.'],
  [/^\(\?[a-z]*x/, 'The flag x is not supported; write the pattern without white space.'],
  [/^\(\?\w*R\)/, 'Recursion is not supported.'],
];

function problemOf(error: RE2JSException, source: string): PatternProblem {
  const { error: what = error.message, input } = error as { error?: string; input?: string | null } & Error;
  const part = input ?? '';
  const at = part === '' || part === source ? -1 : source.indexOf(part);
  const place = at < 0 ? {} : { column: at + 1 };
  const rest = part === source ? source : at < 0 ? part : source.slice(at);
  const known = unsupported.find(([form]) => form.test(rest));
  if (known !== undefined) return { message: known[1], column: at < 0 ? 1 : at + 1 };
  if (/^[*+?}][*+]/.test(part))
    return { message: `\`${part}\` repeats a repetition; one of the two is enough.`, ...place };
  if (what === 'invalid repeat count')
    return {
      message: `\`${part}\` is no repetition that is allowed: at most 1000 in all, the smaller number first.`,
      ...place,
    };
  if (what === 'trailing backslash at end of expression')
    return { message: 'Ends with a backslash; write `\\\\` for the character.', column: source.length };
  if (what === 'missing closing )') return { message: 'A `(` is not closed.' };
  if (what === 'missing closing ]') return { message: 'A `[` is not closed.', ...place };
  if (what === 'unexpected )') return { message: 'A `)` closes no group.' };
  const quoted = part === '' ? '' : `: \`${shortened(part)}\``;
  return { message: `Is not a pattern in RE2 syntax: ${what}${quoted}.`, ...place };
}

function shortened(text: string): string {
  const characters = [...text];
  return characters.length <= 40 ? text : `${characters.slice(0, 39).join('')}…`;
}

/** Steps that are left for one validation or evaluation, all its patterns together. */
export class PatternBudget {
  left: number;
  constructor(steps: number = limits.maxPatternSteps) {
    this.left = steps;
  }

  /** Undefined where the text is too long for what is left. */
  matches(pattern: Pattern, text: string): boolean | undefined {
    const cost = pattern.size * (text.length + 1);
    if (cost > this.left) return undefined;
    this.left -= cost;
    return pattern.matches(text);
  }
}
