import fc from 'fast-check';
import { RE2JS, RE2JSException } from 're2js';
import { expect, test } from 'vitest';
import { isAnchored } from './raw-splice.ts';

test.each([
  ['^(?:start|stop)$', true],
  ['^[a-z]+$', true],
  ['^[]|]$', true],
  ['^[^]|]x$', true],
  ['^[a[]$', true],
  ['^[[:alpha:]|]x$', true],
  ['^[[:^alpha:]()|]x$', true],
  ['^\\[a\\|b$', true],
  ['start|stop', false],
  ['^start|stop$', false],
  ['^a$|b$', false],
  ['^(a|b)|c$', false],
  // A bracket inside a character class doesn't open another one.
  ['^[a[]b|c]$', false],
  ['^[^a[]b|c]$', false],
  ['^[[]b|c]$', false],
  // What follows the name of a class belongs to the same class.
  ['^[[:alpha:](]b|c[[:alpha:])]$', false],
  ['^a\\$', false],
  ['(?m)^a$', false],
  ['^(?m:a)$', false],
  // A beginning that may be left out, or is repeated.
  ['^*[a-z]$', false],
  ['^?[a-z]$', false],
  ['^{0,1}[a-z]$', false],
  ['^(?i)(?s-U)*[a-z]$', false],
  ['^{x}$', true],
])('whether %s matches whole texts only: %s', (pattern, whole) => {
  expect(isAnchored(pattern)).toBe(whole);
});

const pieces = [
  ...['a', 'b', '.', '^', '$', '|', '(', '(?:', ')', '(?i)', '(?-s)', '(?U)', '(?i:', '(?m:'],
  ...[
    '*',
    '+',
    '?',
    '{0}',
    '{0,1}',
    '{1}',
    '{',
    '[',
    '[^',
    ']',
    '[:alpha:]',
    '-',
    '\\',
    '\\\\',
    '\\b',
    '\\z',
  ],
];

test('a pattern that counts as anchored matches nothing but whole texts', () => {
  const texts = fc.array(fc.constantFrom('a', 'b', ';', '|', '\n', '^', '$'), { maxLength: 4 });
  const pattern = fc.array(fc.constantFrom(...pieces), { maxLength: 6 });
  let compared = 0;
  const property = fc.property(pattern, fc.array(texts, { minLength: 8, maxLength: 8 }), (parts, samples) => {
    const source = `^${parts.join('')}$`;
    const expression = isAnchored(source) ? compiled(source) : undefined;
    if (expression === undefined) return;
    for (const text of samples.map((sample) => sample.join(''))) {
      if (!expression.test(text)) continue;
      compared += 1;
      expect([source, text, expression.matches(text)]).toEqual([source, text, true]);
    }
  });
  fc.assert(property, { numRuns: 2_000 });
  expect(compared).toBeGreaterThan(100);
});

function compiled(source: string): RE2JS | undefined {
  try {
    return RE2JS.compile(source);
  } catch (error) {
    if (error instanceof RE2JSException) return undefined;
    throw error;
  }
}
