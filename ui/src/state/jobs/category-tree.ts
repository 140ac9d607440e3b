// Categories as the tree that their paths make.
import type { Category } from '@opsconductor/protocol';

export interface TreeRow<C extends Placed = Category> {
  category: C;
  /** 0 at the top, also for one whose parents the reader does not see. */
  depth: number;
  /** The last part of its path; all of it where nothing that it lies in is seen. */
  label: string;
  hasBelow: boolean;
}
type Placed = Pick<Category, 'id' | 'name' | 'parentId'>;

/** Each category followed by those below it, each level by name. */
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

/** Of numbers by path, what each path comes to with all below it. */
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

/** Whether a path is the other, or lies below it. */
export function liesIn(path: string, other: string): boolean {
  return path === other || path.startsWith(`${other}/`);
}

/** Path of what a category lies in; empty at the top. */
export function pathAbove(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf('/')));
}

/** The path of a name in a category; an empty one is the top. */
export function namedIn(above: string, name: string): string {
  return above === '' ? name : `${above}/${name}`;
}

/** A category and all below it, the deepest first: the order in which they can be deleted. */
export function deepestFirst<C extends Placed>(categories: readonly C[], top: C): C[] {
  const depth = ({ name }: C) => name.split('/').length;
  return categories.filter(({ name }) => liesIn(name, top.name)).toSorted((a, b) => depth(b) - depth(a));
}
