// What stands between the words of a script.
import { expect, test } from 'vitest';
import { Nesting, Unreadable } from './nesting.ts';
import { literalOf } from './syntax.ts';
import { Tokens } from './tokens.ts';

function tokensOf(text: string) {
  const commented: number[] = [];
  const none = () => {
    throw new Unreadable('no commands here', 0);
  };
  const tokens = new Tokens(text, 0, text.length, commented, {
    ...{ nesting: new Nesting(), readBefore: new Map(), toParenthesis: none, whole: none },
    ...{ isBash: false, hasOwnArguments: false },
  });
  return { tokens, commented };
}

test('a reserved word ends with a blank, an operator or the text', () => {
  for (const text of ['done', 'done;', 'done)', 'done\\\n', 'done\n', 'done|x'])
    expect(tokensOf(text).tokens.reserved()).toBe('done');
  for (const text of ['done_', 'done$x', "done''", 'done=1', 'done\\;', '"done"'])
    expect(tokensOf(text).tokens.reserved()).not.toBe('done');
});

test('blanks end at the end of a line, and comments with it; placeholders in them are noted', () => {
  const { tokens, commented } = tokensOf(' \t\\\n # a \uFDD0 b\n\n x');
  tokens.blanks();
  expect(tokens.peek()).toBe('\n');
  expect(commented).toEqual([9]);
  tokens.blanksAndLines();
  expect(tokens.peek()).toBe('x');
});

test('a redirection has what stands in front of its operator and what it leads to', () => {
  const read = (text: string) => {
    const redirect = tokensOf(text).tokens.redirect();
    return redirect && [redirect.descriptor, redirect.operator, literalOf(redirect.word)];
  };
  expect(read('2>&1')).toEqual(['2', '>&', '1']);
  expect(read('{fd}<> file')).toEqual(['{fd}', '<>', 'file']);
  expect(read('&>>a')).toEqual(['', '&>>', 'a']);
  expect(read('<<<text')).toEqual(['', '<<<', 'text']);
  expect(read('>(cat)')).toBeUndefined();
  expect(read('2 >a')).toBeUndefined();
  expect(() => read('> ')).toThrow('> leads nowhere');
});

test('what is missing is said with its place', () => {
  const { tokens } = tokensOf('  fi');
  expect(() => tokens.expectWord('then')).toThrow('"then" is missing');
  tokens.expectWord('fi');
  expect(tokens.at).toBe(4);
});
