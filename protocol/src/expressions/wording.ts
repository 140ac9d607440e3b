// Rewords the library's errors, and finds the place of each.
import { TypeError as CelTypeError, EvaluationError, ParseError } from '@marcbachmann/cel-js';
import { visibleJson } from '../api/text.ts';
import { limits } from '../limits.ts';
import { authorsName, functions } from './environment.ts';

export interface ExpressionProblem {
  /** Both from 1; columns in UTF-16 units. */
  line: number;
  column: number;
  /** A sentence: what is wrong, and what to write. */
  message: string;
  /** The part of the expression that it is about. */
  found?: string;
  allowed?: string;
}

type More = Pick<ExpressionProblem, 'found' | 'allowed'>;

/** Builds a problem at an offset in the text. */
export function placed(text: string, offset: number, message: string, more: More = {}): ExpressionProblem {
  const before = text.slice(0, offset);
  const line = before.split('\n').length;
  return { line, column: offset - before.lastIndexOf('\n'), message, ...more };
}

interface CelError extends Error {
  code: string;
  summary: string;
  range?: { start: number; end: number };
}

/** Describes an error of the library from parsing, checking or evaluating. Any other error is a bug and is rethrown. */
export function describeCelError(error: unknown, text: string): ExpressionProblem {
  if (!isCelError(error)) throw error;
  const { start, end } = error.range ?? { start: 0, end: text.length };
  const part = text.slice(start, end);
  const found = part === '' ? {} : { found: shortened(part) };
  return placed(text, start, sentenceOf(error, text, start), found);
}

function isCelError(error: unknown): error is CelError {
  return error instanceof ParseError || error instanceof CelTypeError || error instanceof EvaluationError;
}

const fixed: Record<string, string> = {
  unterminated_string: 'The text that begins here has no closing quote.',
  unterminated_triple_quoted_string: 'The text that begins here has no closing quotes.',
  newline_in_string: 'A text in quotes has no line breaks; write `\\n`.',
  division_by_zero: 'Divides by zero.',
  modulo_by_zero: 'Divides by zero.',
  heterogeneous_list_element: 'The values of a list must be of one type.',
  incompatible_ternary_branches: 'Both values of `a ? b : c` must be of one type.',
  invalid_condition_type: 'What stands before `?` must be true or false.',
};

function sentenceOf(error: CelError, text: string, start: number): string {
  const { code, summary } = error;
  const known = fixed[code];
  if (known !== undefined) return known;
  switch (code) {
    case 'unexpected_token':
      return start >= text.trimEnd().length ? 'Ends where a value is expected.' : 'A value is expected here.';
    case 'expected_token':
      return `${tokenInWords(/Expected (\w+)/.exec(summary)?.[1])} is expected here.`;
    case 'unexpected_character':
      return unexpectedCharacter(text, start);
    case 'limit_exceeded':
      return limitSentence(summary);
    case 'no_such_overload':
      return overloadSentence(summary);
    case 'no_matching_overload':
      return callSentence(authorsName(summary));
    case 'invalid_logical_operand':
      return `Both sides of && and || must be true or false; one is ${wordsOfType(/'(.*)'$/.exec(summary)?.[1] ?? '')}.`;
    case 'no_such_key':
      return `There is no value for ${keyIn(text, /No such key: (.*)$/s.exec(summary)?.[1])}; ask \`has(…)\` first.`;
    case 'index_out_of_bounds':
      return 'The list has no value at this place; ask `size(…)` first.';
    default:
      return conversionSentence(summary) ?? `${summary.replace(/^./, (first) => first.toUpperCase())}.`;
  }
}

/** Only a key that the author wrote is repeated. One that comes from a value is not, because messages are stored. */
function keyIn(text: string, key: string | undefined): string {
  return key !== undefined && text.includes(key) ? key : 'this key';
}

/** Likewise without the value, which the library would include. */
function conversionSentence(summary: string): string | undefined {
  const name = /^(int|double|bool|string)\(\) (?:type|conversion) error/.exec(summary)?.[1];
  if (name !== undefined) return `${name}(…) can’t convert this value.`;
  return /overflow/.test(summary) ? 'Results in a number that is too large.' : undefined;
}

const otherSpellings: [form: RegExp, message: string][] = [
  [/^=/, 'Compare with `==`; nothing is assigned in an expression.'],
  [/^&/, 'Write `&&` for “and”.'],
  [/^\|/, 'Write `||` for “or”.'],
  [/^and\b/i, 'Write `&&` for “and”.'],
  [/^or\b/i, 'Write `||` for “or”.'],
  [/^\$\{\{?/, 'Placeholders don’t work here: use the value itself, such as `parameters.x`.'],
];

function unexpectedCharacter(text: string, start: number): string {
  if (/\bnot\s+$/i.test(text.slice(0, start))) return 'Write `!` for “not”.';
  const rest = text.slice(start);
  const known = otherSpellings.find(([form]) => form.test(rest));
  if (known !== undefined) return known[1];
  const [character = ''] = rest;
  return /\w/.test(character)
    ? 'Nothing may follow here without an operator such as && or ==.'
    : `${visibleJson(character)} means nothing here.`;
}

const tokens: Record<string, string> = {
  RPAREN: '`)`',
  RBRACKET: '`]`',
  RBRACE: '`}`',
  COLON: '`:`',
  COMMA: '`,`',
  IDENTIFIER: 'A name',
};

function tokenInWords(token = ''): string {
  return tokens[token] ?? 'Something else';
}

function limitSentence(summary: string): string {
  if (summary.includes('maxDepth')) return `Is nested deeper than ${limits.maxExpressionDepth} levels.`;
  if (summary.includes('maxAstNodes')) return `Has more than ${limits.maxExpressionNodes} parts.`;
  if (summary.includes('maxCallArguments')) return 'Has more arguments than any function takes.';
  return `A list has ${limits.maxExpressionListElements} values at most here.`;
}

/** `no such overload: double * int`. */
function overloadSentence(summary: string): string {
  const both = /: (.+) (==|!=|<=|>=|[-+*/%<>]|in) (.+)$/.exec(summary);
  if (both === null) {
    const one = /: ([!-])(.+)$/.exec(summary);
    return one?.[1] === '!'
      ? `! needs true or false, and this is ${wordsOfType(one[2] ?? '')}.`
      : `- needs a number, and this is ${wordsOfType(one?.[2] ?? '')}.`;
  }
  const [, left = '', operator = '', right = ''] = both;
  const types = new Set([left, right]);
  if (types.has('int') && types.has('double')) {
    return `${operator} needs two numbers of one kind: write a whole number as \`1.0\` beside a number, or convert with double(…) or int(…).`;
  }
  if (operator === 'in') return `in needs a list or a map at its right side, with values as at its left.`;
  const verb = /[=<>]/.test(operator) ? 'be compared with' : 'go with';
  const fix = types.has('string') && types.size === 2 ? textFix(left, right) : '';
  return `${wordsOfType(left).replace(/^./, (first) => first.toUpperCase())} can’t ${verb} ${wordsOfType(right)} by ${operator}.${fix}`;
}

function textFix(left: string, right: string): string {
  const other = left === 'string' ? right : left;
  if (other === 'int' || other === 'double')
    return ' Convert the text with int(…) or double(…), or the number with string(…).';
  return other === 'bool' ? ' Write true and false without quotes.' : '';
}

/** `found no matching overload for 'string.size(int)'`. */
function callSentence(summary: string): string {
  const name = /'(?:[^'(]*\.)?(\w+)\(/.exec(summary)?.[1] ?? '';
  const use = functions[name];
  return use === undefined
    ? `There is no function ${name}.`
    : `${name} is not called like this; its form is \`${use}\`.`;
}

/** Returns a type of CEL in words for authors: `a list`, `text`. */
export function wordsOfType(type: string): string {
  const dynamic = /^dyn<(.*)>$/.exec(type)?.[1];
  if (dynamic !== undefined) return wordsOfType(dynamic);
  if (type.startsWith('list')) return 'a list';
  if (type.startsWith('map') || type.startsWith('$')) return 'an object';
  const words: Record<string, string> = {
    string: 'text',
    int: 'an integer',
    double: 'a number',
    bool: 'true or false',
    null_type: 'null',
    null: 'null',
    dyn: 'anything',
  };
  return words[type] ?? type;
}

function shortened(text: string): string {
  const characters = [...text];
  return characters.length <= 60 ? text : `${characters.slice(0, 59).join('')}…`;
}
