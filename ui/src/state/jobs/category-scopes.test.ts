import { describe, expect, test } from 'vitest';
import { categoryScopes } from './category-scopes.ts';

const tree = [
  { id: 1, parentId: null },
  { id: 2, parentId: 1 },
  { id: 3, parentId: 2 },
];

describe('what lies in a category lies', () => {
  test('in all above it too', () => {
    expect(categoryScopes(tree, 3).map(({ id }) => id)).toEqual([3, 2, 1]);
    expect(categoryScopes(tree, 1).map(({ id }) => id)).toEqual([1]);
  });
  test('in it alone while nothing is known of the others', () => {
    expect(categoryScopes(undefined, 3)).toEqual([{ kind: 'category', id: 3 }]);
  });
});
