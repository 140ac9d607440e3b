// Categories as a tree.
import type { Category } from '@opsconductor/protocol';

export interface TreeRow<C extends Placed = Category> {
  category: C;
  /** Depth in the tree; 0 at the top, and for a category whose parent the reader can't see. */
  depth: number;
  /** Last part of the path; the whole path if the reader can't see the parent. */
  label: string;
  hasBelow: boolean;
}
type Placed = Pick<Category, 'id' | 'name' | 'parentId'>;

/** Returns each category followed by those below it, each level sorted by name. */
export function categoryTree<C extends Placed>(categories: readonly C[]): TreeRow<C>[] {
  const seen = new Set(categories.map(({ id }) => id));
  const below = new Map<number | null, C[]>();
  for (const category of categories) {
    const parent = category.parentId !== null && seen.has(category.parentId) ? category.parentId : null;
    below.set(parent, [...(below.get(parent) ?? []), category]);
  }
  const rows: TreeRow<C>[] = [];
  const add = (parent: C | null, depth: number) => {
    const level = below.get(parent?.id ?? null) ?? [];
    for (const category of level.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
      const label = parent === null ? category.name : category.name.slice(parent.name.length + 1);
      rows.push({ category, depth, label, hasBelow: below.has(category.id) });
      add(category, depth + 1);
    }
  };
  add(null, 0);
  return rows;
}

/** Sums numbers by path, so that each path's total includes everything below it. */
export function rolledUp(own: ReadonlyMap<string, number>): Map<string, number> {
  const totals = new Map<string, number>();
  for (const [path, number] of own) {
    const parts = path.split('/');
    for (let length = 1; length <= parts.length; length += 1) {
      const above = parts.slice(0, length).join('/');
      totals.set(above, (totals.get(above) ?? 0) + number);
    }
  }
  return totals;
}

/** Returns whether `path` is `other` or below it. */
export function liesIn(path: string, other: string): boolean {
  return path === other || path.startsWith(`${other}/`);
}

/** Returns the path of the parent category; '' at the top. */
export function pathAbove(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf('/')));
}

/** Returns the path of a name in the category `above`; '' is the top. */
export function namedIn(above: string, name: string): string {
  return above === '' ? name : `${above}/${name}`;
}

/** Returns a category and all below it, deepest first: the order in which they can be deleted. */
export function deepestFirst<C extends Placed>(categories: readonly C[], top: C): C[] {
  const depth = ({ name }: C) => name.split('/').length;
  return categories.filter(({ name }) => liesIn(name, top.name)).toSorted((a, b) => depth(b) - depth(a));
}
