// The scopes that a job is in: its category and all above it, since a grant on a category includes those below.
import type { Category, Scope } from '@opsconductor/protocol';

type Placed = Pick<Category, 'id' | 'parentId'>;

/** Returns the scopes of something in a category; only that category while the others are not known. */
export function categoryScopes(categories: readonly Placed[] | undefined, id: number): Scope[] {
  const scopes: Scope[] = [];
  const parents = new Map((categories ?? []).map((one) => [one.id, one.parentId]));
  for (let at: number | null | undefined = id; at !== null && at !== undefined; at = parents.get(at)) {
    if (scopes.some((scope) => scope.id === at)) break;
    scopes.push({ kind: 'category', id: at });
  }
  return scopes;
}
