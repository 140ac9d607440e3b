// Finds where a text stops being JSON (RFC 8259). Runs only on text that JSON.parse refused, whose own messages quote
// the text and name no position for many mistakes.

export interface JsonError {
  /** Counted from 1. */
  line: number;
  /** Counted from 1, in UTF-16 units. */
  column: number;
  /** Such as `expected , or }`; never contains the text itself. */
  expected: string;
}

type State = 'value' | 'value or ]' | 'name or }' | 'name' | ':' | 'after';

const whitespace = /[ \t\n\r]*/y;
const scalar = /(?:true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)(?![\w.+-])/y;
// Any character from the space on, except the quote and the backslash; and escapes.
const stringPart = /[ !#-[\]-\uffff]*(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[ !#-[\]-\uffff]*)*/y;

/** Returns the first position at which the text can't continue as JSON. */
export function findJsonError(text: string): JsonError {
  const open: ('[' | '{')[] = [];
  let state = 'value' as State;
  let at = 0;
  for (;;) {
    at = skip(whitespace, text, at);
    const character = text[at];
    if (character === undefined)
      return place(text, at, `the text ends where ${wanted(state, open)} is expected`);
    if (state === 'after') {
      const container = open.at(-1);
      if (container === undefined) return place(text, at, 'nothing may follow the value');
      if (character === ',') state = container === '[' ? 'value' : 'name';
      else if (character === (container === '[' ? ']' : '}')) open.pop();
      else return place(text, at, `expected ${wanted(state, open)}`);
      at++;
    } else if (state === ':') {
      if (character !== ':') return place(text, at, 'expected : after the name');
      state = 'value';
      at++;
    } else if (character === '"') {
      const end = skip(stringPart, text, at + 1);
      if (text[end] !== '"') return place(text, end, stringMistake(text, end));
      state = state === 'name' || state === 'name or }' ? ':' : 'after';
      at = end + 1;
    } else if (state === 'name or }' && character === '}') {
      open.pop();
      state = 'after';
      at++;
    } else if (state === 'name' || state === 'name or }') {
      return place(text, at, `expected ${wanted(state, open)}`);
    } else if (state === 'value or ]' && character === ']') {
      open.pop();
      state = 'after';
      at++;
    } else if (character === '{' || character === '[') {
      open.push(character);
      state = character === '{' ? 'name or }' : 'value or ]';
      at++;
    } else {
      const end = skip(scalar, text, at);
      if (end === at) return place(text, at, `expected ${wanted(state, open)}`);
      state = 'after';
      at = end;
    }
  }
}

function wanted(state: State, open: readonly ('[' | '{')[]): string {
  if (state === 'after') return open.at(-1) === '[' ? ', or ]' : ', or }';
  if (state === 'name') return 'a name in double quotes';
  if (state === 'name or }') return 'a name in double quotes, or }';
  if (state === 'value or ]') return 'a value, or ]';
  return state === ':' ? ':' : 'a value';
}

function stringMistake(text: string, at: number): string {
  if (at >= text.length) return 'the text ends inside a string';
  if (text[at] === '\\') return 'an escape that JSON does not have';
  return 'a line break or control character inside a string; write it as an escape';
}

function skip(pattern: RegExp, text: string, from: number): number {
  pattern.lastIndex = from;
  return pattern.test(text) ? pattern.lastIndex : from;
}

function place(text: string, at: number, expected: string): JsonError {
  const before = text.slice(0, at);
  const line = before.split('\n').length;
  return { line, column: at - before.lastIndexOf('\n'), expected };
}
