// Where a job lies: in its category and in all above it, for a grant on a category reaches those below.
import type { Category, Scope } from '@opsconductor/protocol';

type Placed = Pick<Category, 'id' | 'parentId'>;

/** The scopes of what lies in a category; the category alone while the others are not known. */
export function categoryScopes(categories: readonly Placed[] | undefined, id: number): Scope[] {
  const scopes: Scope[] = [];
  const parents = new Map((categories ?? []).map((one) => [one.id, one.parentId]));
  for (let at: number | null | undefined = id; at !== null && at !== undefined; at = parents.get(at)) {
    if (scopes.some((scope) => scope.id === at)) break;
    scopes.push({ kind: 'category', id: at });
  }
  return scopes;
}
