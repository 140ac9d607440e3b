import { expect, it } from 'vitest';
import { categoryTree, deepestFirst, liesIn, namedIn, pathAbove, rolledUp } from './category-tree.ts';

const at = (id: number, name: string, parentId: number | null = null) => ({ id, name, parentId });

it('each category comes before those below it, each level sorted by name', () => {
  const rows = categoryTree([
    at(4, 'prod/web', 2),
    at(5, 'prod/db/pg', 3),
    at(1, 'general'),
    at(3, 'prod/db', 2),
    at(2, 'prod'),
    // Sorted as plain text, it would come between "prod" and "prod/db".
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

it('a category whose parent the reader can’t see is at the top with its whole path', () => {
  expect(categoryTree([at(5, 'prod/db/pg', null), at(7, 'prod/db/pg/eu', 5)])).toMatchObject([
    { label: 'prod/db/pg', depth: 0 },
    { label: 'eu', depth: 1 },
  ]);
});

it('a number counts in its category and in every one above it', () => {
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

it('a path that merely begins with the same text isn’t inside the other', () => {
  expect([liesIn('prod', 'prod'), liesIn('prod/db', 'prod'), liesIn('prod-old', 'prod')]).toEqual([
    true,
    true,
    false,
  ]);
});

it('a path is split and joined', () => {
  expect([pathAbove('prod/db/pg'), pathAbove('prod')]).toEqual(['prod/db', '']);
  expect([namedIn('prod/db', 'pg'), namedIn('', 'prod')]).toEqual(['prod/db/pg', 'prod']);
});

it('the deepest categories are deleted first, and none outside', () => {
  const all = [at(2, 'prod'), at(5, 'prod/db/pg', 3), at(3, 'prod/db', 2), at(6, 'prod-old')];
  const [top] = all;
  if (top === undefined) throw new Error('none');
  expect(deepestFirst(all, top).map(({ name }) => name)).toEqual(['prod/db/pg', 'prod/db', 'prod']);
});
