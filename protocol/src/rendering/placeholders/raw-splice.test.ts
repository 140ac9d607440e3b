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
])('whether %s matches whole texts only: %s', (pattern, whole) => {
  expect(isAnchored(pattern)).toBe(whole);
});
