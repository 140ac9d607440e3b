import { describe, expect, test } from 'vitest';
import { categoryScopes } from './category-scopes.ts';

const tree = [
  { id: 1, parentId: null },
  { id: 2, parentId: 1 },
  { id: 3, parentId: 2 },
];

describe('something in a category is', () => {
  test('in all categories above it too', () => {
    expect(categoryScopes(tree, 3).map(({ id }) => id)).toEqual([3, 2, 1]);
    expect(categoryScopes(tree, 1).map(({ id }) => id)).toEqual([1]);
  });
  test('only in that category while the others are not known', () => {
    expect(categoryScopes(undefined, 3)).toEqual([{ kind: 'category', id: 3 }]);
  });
});
