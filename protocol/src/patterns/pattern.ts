// Regular expressions written by authors: RE2 syntax, matched in linear time by re2js, never by JavaScript's own
// engine, which ten characters can hang. Their cost is counted in steps (size of the program times length of the text),
// not timed, so that the same things are refused everywhere, however fast the machine is.
import { RE2JS, RE2JSException } from 're2js';
import { limits } from '../limits.ts';
import { expandedSize } from './expanded-size.ts';

export interface Pattern {
  source: string;
  /** Steps for each character of a text. */
  size: number;
  /** The longest text that it is matched against, in UTF-16 units. */
  maxLength: number;
  /** Whether it matches somewhere in the text. The caller must have accounted for the cost. */
  matches(text: string): boolean;
}

export interface PatternProblem {
  /** A sentence: what is wrong, and what to write instead. */
  message: string;
  /** Position in the pattern, from 1 in UTF-16 units; `undefined` if unknown. */
  column?: number;
}

const kept = new Map<string, Pattern | PatternProblem>();
const maxKept = 500;

/** Returns the compiled pattern, or why it is not one. */
export function compilePattern(source: string): Pattern | PatternProblem {
  const before = kept.get(source);
  if (before !== undefined) return before;
  const made = compile(source);
  // Evicted in order of first use: there are few, and compiling again is quick.
  if (kept.size >= maxKept) kept.delete(kept.keys().next().value ?? '');
  kept.set(source, made);
  return made;
}

/** Tells a compiled pattern from why there is none. */
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
  message: `Is too large with its repetitions written out (\`x{100}\` counts as 100); ${limits.maxPatternSize} are allowed. Give lengths by minLength and maxLength.`,
};

/** Features of other engines that RE2 lacks because they can't be matched in linear time. */
const unsupported: [form: RegExp, message: string][] = [
  [/^\(\?[=!]/, 'Look-ahead is not supported; express it with a second check, such as a rule.'],
  [/^\(\?<[=!]/, 'Look-behind is not supported; express it with a second check, such as a rule.'],
  [/^\\[1-9]/, 'References to groups (`\\1`) are not supported; express it with a rule.'],
  [/^\\[gk]/, 'References to groups are not supported; express it with a rule.'],
  [/^\(\?>/, 'Atomic groups are not supported and not needed: nothing is tried twice. Write `(?:…)`.'],
  [/^\(\?\(/, 'Conditions in a pattern are not supported; express it with a rule.'],
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
      message: `\`${part}\` is not an allowed repetition: at most 1000 in all, the smaller number first.`,
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

/** The steps left for all patterns of one validation or evaluation together. */
export class PatternBudget {
  left: number;
  constructor(steps: number = limits.maxPatternSteps) {
    this.left = steps;
  }

  /** Returns `undefined` if the text is too long for the steps that are left. */
  matches(pattern: Pattern, text: string): boolean | undefined {
    const cost = pattern.size * (text.length + 1);
    if (cost > this.left) return undefined;
    this.left -= cost;
    return pattern.matches(text);
  }
}
