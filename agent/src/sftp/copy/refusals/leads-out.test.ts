import { expect, test } from 'vitest';
import { leadsOut } from './leads-out.ts';

test.each([
  ['link', 'file', false],
  ['a/link', '../file', false],
  ['a/b/c/up', '../../..', false],
  ['a/link', './b/c', false],
  ['link', '/etc/passwd', true],
  ['link', '..', true],
  ['a/link', '../../file', true],
  // a/b/c/up may be a link to the top, and `..` of that leads out.
  ['z', 'a/b/c/up/../..', true],
  ['a/z', '../b/..', true],
])('a link %s to %s: leads out is %s', (relative, target, expected) => {
  expect(leadsOut(relative, target)).toBe(expected);
});
