// Applies an edit to the value. Editing the text must lead to the same value.
import type { Path, PathPart } from './path.ts';

export type Edit =
  | { kind: 'set'; path: Path; value: unknown }
  /** `whole`: remove the comments that belong to it as well. */
  | { kind: 'remove'; path: Path; whole?: boolean }
  | { kind: 'insert'; path: Path; at: number; value: unknown }
  /** Moves an entry of a list or map to another position in it. */
  | { kind: 'move'; path: Path; from: number; to: number }
  /** Renames the last key of the path. */
  | { kind: 'rename'; path: Path; to: string };

type Container = Record<PathPart, unknown>;

export function applyEdit(value: unknown, edit: Edit): unknown {
  const root = { root: structuredClone(value) } as Container;
  const path = ['root', ...edit.path];
  switch (edit.kind) {
    case 'set': {
      const { parent, key } = parentOf(root, path);
      parent[key] = structuredClone(edit.value);
      break;
    }
    case 'remove': {
      const { parent, key } = parentOf(root, path);
      if (Array.isArray(parent)) parent.splice(Number(key), 1);
      else delete parent[key];
      break;
    }
    case 'insert': {
      const { parent, key } = parentOf(root, path);
      const list = Array.isArray(parent[key]) ? (parent[key] as unknown[]) : [];
      list.splice(edit.at, 0, structuredClone(edit.value));
      parent[key] = list;
      break;
    }
    case 'move': {
      const { parent, key } = parentOf(root, path);
      const list = parent[key];
      if (Array.isArray(list)) list.splice(edit.to, 0, ...list.splice(edit.from, 1));
      else if (typeof list === 'object' && list !== null) {
        const entries = Object.entries(list);
        entries.splice(edit.to, 0, ...entries.splice(edit.from, 1));
        parent[key] = Object.fromEntries(entries);
      }
      break;
    }
    case 'rename': {
      const { parent, key } = parentOf(root, path);
      const entries = Object.entries(parent).map(([name, one]) => [name === key ? edit.to : name, one]);
      const { parent: above, key: own } = parentOf(root, path.slice(0, -1));
      above[own] = Object.fromEntries(entries);
      break;
    }
  }
  return root.root;
}

function parentOf(root: Container, path: Path): { parent: Container; key: PathPart } {
  let parent = root;
  for (const [at, part] of path.slice(0, -1).entries()) {
    const inner = parent[part];
    if (typeof inner !== 'object' || inner === null)
      parent[part] = typeof path[at + 1] === 'number' ? [] : {};
    parent = parent[part] as Container;
  }
  return { parent, key: path.at(-1) as PathPart };
}

/** Returns whether two values are equal, ignoring the order of keys. */
export function sameValue(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const [keys, others] = [Object.keys(a), Object.keys(b)];
  return (
    keys.length === others.length &&
    keys.every((key) => Object.hasOwn(b, key) && sameValue((a as Container)[key], (b as Container)[key]))
  );
}
