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
  // A bracket in a class opens none.
  ['^[a[]b|c]$', false],
  ['^[^a[]b|c]$', false],
  ['^[[]b|c]$', false],
  // What stands behind the name of a class is a part of the same one.
  ['^[[:alpha:](]b|c[[:alpha:])]$', false],
  ['^a\\$', false],
  ['(?m)^a$', false],
  ['^(?m:a)$', false],
])('whether %s matches whole texts only: %s', (pattern, whole) => {
  expect(isAnchored(pattern)).toBe(whole);
});
