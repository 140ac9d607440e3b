import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { limits } from '../limits.ts';
import { expandedSize } from './expanded-size.ts';
import { compilePattern, isPattern, PatternBudget } from './pattern.ts';

const told = (source: string) => {
  const pattern = compilePattern(source);
  if (isPattern(pattern)) return 'accepted';
  return pattern.column === undefined ? pattern.message : `${pattern.column}: ${pattern.message}`;
};
const tooLarge = expect.stringMatching(/^Is too large with its repetitions written out/);

describe('a pattern', () => {
  it.each([
    ['(?=x)a', '1: Look-ahead is not supported; express it with a second check, such as a rule.'],
    ['a(?!b)', '2: Look-ahead is not supported; express it with a second check, such as a rule.'],
    ['(?<=x)a', '1: Look-behind is not supported; express it with a second check, such as a rule.'],
    ['ab(?<!x)a', '3: Look-behind is not supported; express it with a second check, such as a rule.'],
    ['(a)\\1', '4: References to groups (`\\1`) are not supported; express it with a rule.'],
    ['(?>a)', '1: Atomic groups are not supported and not needed: nothing is tried twice. Write `(?:…)`.'],
    ['(?x)a b', '1: The flag x is not supported; write the pattern without white space.'],
    ['a**', '2: `**` repeats a repetition; one of the two is enough.'],
    ['a++', '2: `++` repeats a repetition; one of the two is enough.'],
    ['a{2,1}', '2: `{2,1}` is not an allowed repetition: at most 1000 in all, the smaller number first.'],
    ['abc\\', '4: Ends with a backslash; write `\\\\` for the character.'],
    ['(a', 'A `(` is not closed.'],
    ['a)', 'A `)` closes no group.'],
    ['[a', 'A `[` is not closed.'],
    ['[z-a]', '2: Is not a pattern in RE2 syntax: invalid character class range: `z-a`.'],
    ['*a', '1: Is not a pattern in RE2 syntax: missing argument to repetition operator: `*`.'],
  ])('%s is refused: %s', (source, message) => {
    expect(told(source)).toBe(message);
  });

  it.each([
    ['x{1000}'.repeat(285)],
    ['(a{1000}){1000}'],
    ['((a{30}){30}){30}'],
    ['(?:x{1,31}){31}'.repeat(100)],
    ['\\pL'.repeat(600)],
    ['[\\pL\\d]'.repeat(300)],
    [`(?i)[${'a-\u{10fffe}'.repeat(160)}]`],
    [`(?s-m:x)(?mi:[${'\\x{80}-\\x{10ffff}'.repeat(20)}])`],
    [`(?i)${'[\\101-\\x{1e943}]'.repeat(20)}`],
    [`(?i)${'[-a-\u{10fffe}]'.repeat(20)}`],
    [`(?i)[${'a-\u{250}'.repeat(1_100)}]`],
    [`(?i)${'[^[:^digit:]a-\u{10fffe}]'.repeat(20)}`],
    [`(?i)${'[a-\\x{000000000010fffe}]'.repeat(20)}`],
  ])('too large with its repetitions written out is refused before it is compiled: %s', (source) => {
    expect(told(source)).toEqual(tooLarge);
  });

  it('of ordinary size is not considered too large', () => {
    const host = '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$';
    for (const source of [
      host,
      '^\\d{4}-\\d{2}-\\d{2}$',
      '^[\\]x{1000}]{3}$',
      '\\Qa{1000}\\E{3}',
      '[[:alpha:]]{500}',
      'a{,5}',
      '(?i)^[a-z0-9_-]{1,64}$',
      '(?i)^[\\x{80}-\\x{10ffff}]$',
      '(?i)^[一-鿿]{1,20}$',
      `^[${'a-\u{10fffe}'.repeat(160)}]$`,
    ])
      expect(told(source)).toBe('accepted');
    expect(expandedSize('[\\]x{1000}]{3}')).toBe(3);
  });

  it('matches somewhere, as JSON Schema means it, and whole characters', () => {
    const matches = (source: string, text: string) => {
      const pattern = compilePattern(source);
      return isPattern(pattern) && pattern.matches(text);
    };
    expect(matches('b', 'abc')).toBe(true);
    expect(matches('^b', 'abc')).toBe(false);
    expect(matches('^.$', '😀')).toBe(true);
    expect(matches('^a$', 'a\n')).toBe(false);
  });

  it('costs no more than what is counted: its size times the length of the text', () => {
    const budget = new PatternBudget();
    const pattern = compilePattern('^(a|a)*$');
    if (!isPattern(pattern)) throw new Error('refused');
    expect(budget.matches(pattern, 'a'.repeat(pattern.maxLength))).toBe(undefined);
    expect(budget.left).toBe(limits.maxPatternSteps);
    expect(budget.matches(pattern, 'a'.repeat(pattern.maxLength - 1))).toBe(true);
    expect(budget.left).toBeLessThan(pattern.size);
  });

  it('of random characters gets an answer, and its program has about the estimated size', () => {
    const part = fc.constantFrom(
      'a',
      '.',
      '\\d',
      '\\pL',
      '[ab]',
      '[^]]',
      '(',
      ')',
      '(?:',
      '|',
      '*',
      '{3}',
      '{2,40}',
      '+',
      '\\',
      ']',
      '{',
      '^',
      '$',
    );
    fc.assert(
      fc.property(fc.array(part, { maxLength: 40 }), (parts) => {
        const pattern = compilePattern(parts.join(''));
        if (isPattern(pattern)) expect(pattern.size).toBeLessThanOrEqual(3 * limits.maxPatternSize);
        else expect(pattern.message).toMatch(/^[A-Z`].*[.)]$/s);
      }),
    );
  });
});
