import { expect, it } from 'vitest';
import { categoryTree, deepestFirst, liesIn, namedIn, pathAbove, rolledUp } from './category-tree.ts';

const at = (id: number, name: string, parentId: number | null = null) => ({ id, name, parentId });

it('each category stands before those below it, each level by name', () => {
  const rows = categoryTree([
    at(4, 'prod/web', 2),
    at(5, 'prod/db/pg', 3),
    at(1, 'general'),
    at(3, 'prod/db', 2),
    at(2, 'prod'),
    // Between "prod" and "prod/db" by its text alone.
    at(6, 'prod-old'),
  ]);
  expect(rows.map(({ label, depth, hasBelow }) => [label, depth, hasBelow])).toEqual([
    ['general', 0, false],
    ['prod', 0, true],
    ['db', 1, true],
    ['pg', 2, false],
    ['web', 1, false],
    ['prod-old', 0, false],
  ]);
});

it('one whose parent is not seen stands at the top with its whole path', () => {
  expect(categoryTree([at(5, 'prod/db/pg', null), at(7, 'prod/db/pg/eu', 5)])).toMatchObject([
    { label: 'prod/db/pg', depth: 0 },
    { label: 'eu', depth: 1 },
  ]);
});

it('numbers count in all that they lie in', () => {
  const totals = rolledUp(
    new Map([
      ['prod', 1],
      ['prod/db', 2],
      ['prod/db/pg', 4],
      ['prod-old', 8],
    ]),
  );
  expect(Object.fromEntries(totals)).toEqual({ prod: 7, 'prod/db': 6, 'prod/db/pg': 4, 'prod-old': 8 });
});

it('what only begins alike does not lie in it', () => {
  expect([liesIn('prod', 'prod'), liesIn('prod/db', 'prod'), liesIn('prod-old', 'prod')]).toEqual([
    true,
    true,
    false,
  ]);
});

it('a path is taken apart and put together again', () => {
  expect([pathAbove('prod/db/pg'), pathAbove('prod')]).toEqual(['prod/db', '']);
  expect([namedIn('prod/db', 'pg'), namedIn('', 'prod')]).toEqual(['prod/db/pg', 'prod']);
});

it('what lies deepest is deleted first, and nothing beside it', () => {
  const all = [at(2, 'prod'), at(5, 'prod/db/pg', 3), at(3, 'prod/db', 2), at(6, 'prod-old')];
  const [top] = all;
  if (top === undefined) throw new Error('none');
  expect(deepestFirst(all, top).map(({ name }) => name)).toEqual(['prod/db/pg', 'prod/db', 'prod']);
});
