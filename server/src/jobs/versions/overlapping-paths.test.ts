import type { DefinitionChange } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { overlappingPaths } from './overlapping-paths.ts';

const change = (path: string, after: unknown = 'x', beforePath?: string): DefinitionChange => ({
  ...{ path, kind: 'changed', after },
  ...(beforePath === undefined ? {} : { beforePath }),
});

test('changes of the same place, of what contains it and of what is in it overlap, by their paths in the base', () => {
  const theirs = [change('a.b', 1), change('c[1].d', 1), change('e', 1), change('f.g', 1, 'h.g')];
  const mine = ['a', 'a.b', 'a.b.c', 'a.bc', 'c[1]', 'c[1].d["x.y"]', 'c', 'e.f[0]', 'ee', 'f.g', 'h'];
  expect(
    overlappingPaths(
      theirs,
      mine.map((path) => change(path, 2)),
    ),
  ).toEqual(['a', 'a.b', 'a.b.c', 'c[1]', 'c[1].d["x.y"]', 'c', 'e.f[0]', 'h']);
});

test('the same change on both sides does not overlap', () => {
  expect(overlappingPaths([change('a', [1, { b: 2 }])], [change('a', [1, { b: 2 }])])).toEqual([]);
  expect(overlappingPaths([change('a', 1)], [{ ...change('a', 1), kind: 'added' }])).toEqual(['a']);
});

test('of thousands of changes on both sides, each is looked at a few times', () => {
  let reads = 0;
  const side = (after: unknown) =>
    Array.from({ length: 2_000 }, (_, n) => ({
      ...{ kind: 'changed' as const, after },
      get path() {
        reads += 1;
        return `labels.l${n}`;
      },
    }));
  expect(overlappingPaths(side(1), side(2))).toHaveLength(2_000);
  expect(reads).toBeLessThan(20_000);
});
