// The words and values of INI lines. The expected results were taken from Python's shlex and ast.literal_eval.
import { describe, expect, it } from 'vitest';
import { ShellWordsError, splitShellWords } from './shell-words.ts';
import { readPythonLiteral } from './values.ts';

describe('words of a line', () => {
  it.each([
    ['a b=c', ['a', 'b=c']],
    ['a\tb  c', ['a', 'b', 'c']],
    ['a x="b c"', ['a', 'x=b c']],
    [`a x='b "c"'`, ['a', 'x=b "c"']],
    ['a x=b\\ c', ['a', 'x=b c']],
    ['a x="b\\"c\\d"', ['a', 'x=b"c\\d']],
    [`a x='b\\'`, ['a', 'x=b\\']],
    ['a"b c"d', ['ab cd']],
    ['a # b', ['a']],
    ['a#b c', ['a']],
    ['a x="# b"', ['a', 'x=# b']],
    ['a ""', ['a', '']],
  ])('%s', (line, words) => {
    expect(splitShellWords(line)).toEqual(words);
  });

  it.each(['a x="b', "a x='b", 'a\\'])('%s is refused', (line) => {
    expect(() => splitShellWords(line)).toThrow(ShellWordsError);
  });
});

describe('values', () => {
  const place = { file: 'hosts', line: 1 };
  it.each([
    ['22', 22],
    ['-5', -5],
    ['1_000', 1000],
    ['0x10', 16],
    ['010', '010'],
    ['22 # ssh', 22],
    ['True', true],
    ['None', null],
    ['true', 'true'],
    ['yes', 'yes'],
    ['"a b"', 'a b'],
    ["'it\\'s'", "it's"],
    ['"a" # b', 'a'],
    ['admin # b', 'admin # b'],
    ['10.0.0.1', '10.0.0.1'],
    ['99999999999999999999', '99999999999999999999'],
    ['', ''],
  ])('%s', (text, scalar) => {
    expect(readPythonLiteral(text, place)).toEqual({ scalar, unusable: undefined, place });
  });

  it.each([
    ['[1, 2]', 'composite'],
    ["{'a': 1}", 'composite'],
    ['(1, 2)', 'composite'],
    ['{{ user }}', 'template'],
    ['"{{ user }}-x"', 'template'],
    ['{% if x %}a{% endif %}', 'template'],
  ])('%s can’t be carried over', (text, unusable) => {
    expect(readPythonLiteral(text, place)).toEqual({ scalar: undefined, unusable, place });
  });
});
