import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { findJsonError } from './json-error.ts';

describe('the place of a mistake', () => {
  const cases: [string, string, number, number, string][] = [
    ['nothing at all', '', 1, 1, 'the text ends where a value is expected'],
    ['a trailing comma', '{"a": 1,\n}', 2, 1, 'expected a name in double quotes'],
    ['a trailing comma in a list', '[1,]', 1, 4, 'expected a value'],
    ['a missing comma', '{"a": 1 "b": 2}', 1, 9, 'expected , or }'],
    ['a missing colon', '{"a" 1}', 1, 6, 'expected : after the name'],
    ['single quotes', "{'a': 1}", 1, 2, 'expected a name in double quotes, or }'],
    ['a word that is none', '[true, nul]', 1, 8, 'expected a value'],
    ['a number with a leading zero', '[01]', 1, 2, 'expected a value, or ]'],
    ['an open list', '[1, 2', 1, 6, 'the text ends where , or ] is expected'],
    ['an open string', '["abc', 1, 6, 'the text ends inside a string'],
    [
      'a line break in a string',
      '["a\nb"]',
      1,
      4,
      'a line break or control character inside a string; write it as an escape',
    ],
    ['an unknown escape', '["a\\x"]', 1, 4, 'an escape that JSON does not have'],
    ['something after the value', '{} {}', 1, 4, 'nothing may follow the value'],
    ['a closing bracket of the other kind', '[1}', 1, 3, 'expected , or ]'],
  ];
  test.each(cases)('%s', (_, text, line, column, expected) => {
    expect(findJsonError(text)).toEqual({ line, column, expected });
  });
});

test('whatever JSON.parse refuses has a place inside the text, and what comes before it is a valid beginning', () => {
  const broken = fc
    .tuple(fc.json(), fc.nat(), fc.constantFrom('', ',', '}', '"', '\\', 'x', '\n', ':'))
    .map(([json, at, insert]) => {
      const place = at % (json.length + 1);
      return json.slice(0, place) + insert + json.slice(place + (insert === '' ? 1 : 0));
    });
  fc.assert(
    fc.property(broken, (text) => {
      fc.pre(!parses(text));
      const { line, column } = findJsonError(text);
      const lines = text.split('\n');
      expect(line).toBeLessThanOrEqual(lines.length);
      expect(column).toBeLessThanOrEqual((lines[line - 1]?.length ?? 0) + 1);
      // The engine stops at the same place, if it names one, or later within the same number, word or escape.
      const position = /position (\d+)/.exec(messageOf(text))?.[1];
      const offset = lines.slice(0, line - 1).reduce((sum, one) => sum + one.length + 1, 0) + column - 1;
      if (position === undefined) return;
      expect(Number(position)).toBeGreaterThanOrEqual(offset);
      expect(text.slice(offset, Number(position))).toMatch(/^[\w.+\\-]*$/);
    }),
    { numRuns: 500 },
  );
});

test('a megabyte of nesting or of one string is no problem', () => {
  expect(findJsonError('['.repeat(1_000_000)).column).toBe(1_000_001);
  expect(findJsonError(`"${'a'.repeat(1_000_000)}`).column).toBe(1_000_002);
  expect(findJsonError(`"${'\\n'.repeat(500_000)}`).column).toBe(1_000_002);
});

function parses(text: string): boolean {
  return messageOf(text) === '';
}

function messageOf(text: string): string {
  try {
    JSON.parse(text);
    return '';
  } catch (error) {
    return String(error);
  }
}
