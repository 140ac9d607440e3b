import { expect, test } from 'vitest';
import { pathFilter } from './path-filter.ts';

const kept = (include: string[], exclude: string[], path: string) =>
  pathFilter(include, exclude)(path.replace(/\/$/, ''), path.endsWith('/'));

test.each<[pattern: string, out: string[], stays: string[]]>([
  ['*.o', ['a.o', 'src/a.o', '.o'], ['a.o.c', 'a.O', 'o']],
  ['/cache', ['cache', 'cache/'], ['src/cache', 'cache2']],
  ['cache/', ['cache/', 'src/cache/'], ['cache', 'mycache/']],
  ['sub/file', ['sub/file', 'a/sub/file'], ['sub/dir/file', 'xsub/file']],
  ['/a/*/c', ['a/b/c'], ['a/c', 'a/b/b/c', 'x/a/b/c']],
  ['a/**/c', ['a/b/c', 'a/b/b/c', 'x/a/b/c'], ['a/c']],
  ['**.log', ['x.log', 'a/b/x.log'], ['x.log2']],
  ['file?.[0-9a]', ['file1.5', 'file-.a'], ['file.5', 'file1.b', 'file12.5']],
  ['[!a-c]x', ['dx'], ['ax', 'bx']],
  ['[', ['['], ['a']],
  ['\\*', ['*'], ['a']],
  ['foo\\bar', ['foo\\bar'], ['foobar']],
  ['tmp/***', ['tmp/', 'tmp/x', 'tmp/a/b'], ['tmp']],
  ['n\u00e4me', ['n\u00e4me'], ['name']],
])('exclude %j', (pattern, out, stays) => {
  for (const path of out) expect([path, kept([], [pattern], path)]).toEqual([path, false]);
  for (const path of stays) expect([path, kept([], [pattern], path)]).toEqual([path, true]);
});

test('includes are checked first, and what nothing matches is included', () => {
  const filter = pathFilter(['*/', '*.conf'], ['*']);
  expect(filter('etc', true)).toBe(true);
  expect(filter('etc/a.conf', false)).toBe(true);
  expect(filter('etc/a.txt', false)).toBe(false);
  expect(pathFilter([], ['x'])('y', false)).toBe(true);
  expect(pathFilter()('anything', false)).toBe(true);
});

test('the cost of a pattern with many stars stays in proportion to its length', () => {
  const filter = pathFilter([], [`${'*a'.repeat(50)}b`]);
  expect(filter('a'.repeat(1_000), false)).toBe(true);
});

test('a pattern that may match any tail of a path passes over the path once', () => {
  const filter = pathFilter([], ['**/a*b/**c']);
  expect(filter('ab/'.repeat(10_000), false)).toBe(true);
  expect(filter(`${'ab/'.repeat(10_000)}c`, false)).toBe(false);
});
