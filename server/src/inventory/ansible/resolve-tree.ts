// Resolves in which groups each host is, and the value of each of its variables. A child group wins over its parents,
// then the higher priority, then the name that sorts last; files of variables win over the inventory, and variables of
// a host over those of groups.
import { InventoryTooLarge, quoted } from '../report.ts';
import type { AnsibleGroup, AnsibleHost, AnsibleTree } from './tree.ts';
import type { Value } from './values.ts';

const maxGroupNesting = 64;
const maxMemberships = 2_000_000;

export interface ResolvedHost {
  host: AnsibleHost;
  /** All groups except `all` and `ungrouped`, including parents, sorted. */
  groups: string[];
  variables: ReadonlyMap<string, Value>;
}

/** Returns undefined if groups contain each other in a cycle, which is then an error in the tree's report. */
export function resolveTree(tree: AnsibleTree): ResolvedHost[] | undefined {
  const depths = depthsOf(tree);
  if (depths === undefined) return undefined;
  const budget = { left: maxMemberships };
  const ancestors = ancestorsOf(tree, depths, budget);
  const bySet = new Map<string, { groups: string[]; variables: Map<string, Value> }>();
  return [...tree.hosts.values()].map((host) => {
    const own = [...host.groups].filter((name) => name !== 'all' && name !== 'ungrouped').sort();
    const key = JSON.stringify(own);
    let shared = bySet.get(key);
    if (shared === undefined) {
      shared = sharedBy(tree, own, ancestors, depths);
      bySet.set(key, shared);
    }
    budget.left -= shared.groups.length + 1;
    if (budget.left < 0) throw tooMany(host.place);
    const isAlone = host.variables.size + host.fileVariables.size === 0;
    const variables = isAlone
      ? shared.variables
      : new Map([...shared.variables, ...host.variables, ...host.fileVariables]);
    return { host, groups: shared.groups, variables };
  });
}

function sharedBy(
  tree: AnsibleTree,
  own: readonly string[],
  ancestors: ReadonlyMap<string, ReadonlySet<string>>,
  depths: ReadonlyMap<string, number>,
) {
  const names = new Set(own.flatMap((name) => [name, ...(ancestors.get(name) ?? [])]));
  if (own.length === 0) names.add('ungrouped');
  names.delete('all');
  const groups = [...names].flatMap((name) => tree.groups.get(name) ?? []);
  const depthOf = (group: AnsibleGroup) => depths.get(group.name) ?? 0;
  groups.sort((a, b) => depthOf(a) - depthOf(b) || a.priority - b.priority || (a.name < b.name ? -1 : 1));
  const ordered = [tree.groups.get('all'), ...groups];
  const variables = new Map([
    ...ordered.flatMap((group) => [...(group?.variables ?? [])]),
    ...ordered.flatMap((group) => [...(group?.fileVariables ?? [])]),
  ]);
  names.delete('ungrouped');
  return { groups: [...names].sort(), variables };
}

/** Returns the depth of each group below `all`, by the longest path, with parents before their children. */
function depthsOf(tree: AnsibleTree): Map<string, number> | undefined {
  const parents = new Map<string, number>();
  for (const group of tree.groups.values()) {
    for (const child of group.children.keys()) parents.set(child, (parents.get(child) ?? 0) + 1);
  }
  const depths = new Map<string, number>();
  const ready = [...tree.groups.keys()].filter((name) => (parents.get(name) ?? 0) === 0);
  for (const name of ready) depths.set(name, name === 'all' ? 0 : 1);
  const sorted = new Map<string, number>();
  for (let name = ready.pop(); name !== undefined; name = ready.pop()) {
    const depth = depths.get(name) ?? 1;
    sorted.set(name, depth);
    for (const [child, place] of tree.groups.get(name)?.children ?? []) {
      depths.set(child, Math.max(depths.get(child) ?? 1, depth + 1));
      if (depth + 1 > maxGroupNesting) {
        throw new InventoryTooLarge(place, `Groups are nested deeper than ${maxGroupNesting} levels.`);
      }
      const left = (parents.get(child) ?? 0) - 1;
      parents.set(child, left);
      if (left === 0) ready.push(child);
    }
  }
  if (sorted.size === tree.groups.size) return sorted;
  reportCircle(tree, sorted);
  return undefined;
}

function reportCircle(tree: AnsibleTree, sorted: ReadonlyMap<string, number>): void {
  const parentOf = new Map<string, string>();
  for (const group of tree.groups.values()) {
    if (sorted.has(group.name)) continue;
    for (const child of group.children.keys()) if (!sorted.has(child)) parentOf.set(child, group.name);
  }
  // Each of these has a parent among them, so going up must end in a cycle.
  const way: string[] = [];
  let name = parentOf.keys().next().value;
  while (name !== undefined && !way.includes(name)) {
    way.push(name);
    name = parentOf.get(name);
  }
  const circle = way.slice(way.indexOf(name ?? '')).reverse();
  const [first = '', second = first] = circle;
  const place = tree.groups.get(first)?.children.get(second) ?? { file: '', line: null };
  const shown = [...circle.slice(0, 10), first].map(quoted).join(' has the child ');
  tree.report.error(place, `Groups contain each other in a cycle: ${shown}.`);
}

function ancestorsOf(
  tree: AnsibleTree,
  depths: ReadonlyMap<string, number>,
  budget: { left: number },
): Map<string, Set<string>> {
  const ancestors = new Map<string, Set<string>>();
  // In the order of `depths` parents come first, so their own ancestors are already complete.
  for (const name of depths.keys()) {
    const own = ancestors.get(name) ?? new Set<string>();
    ancestors.set(name, own);
    for (const [child, place] of tree.groups.get(name)?.children ?? []) {
      const theirs = ancestors.get(child) ?? new Set<string>();
      ancestors.set(child, theirs);
      budget.left -= own.size + 1;
      if (budget.left < 0) throw tooMany(place);
      for (const one of own) theirs.add(one);
      theirs.add(name);
    }
  }
  return ancestors;
}

function tooMany(place: { file: string; line: number | null }): InventoryTooLarge {
  return new InventoryTooLarge(
    place,
    `Hosts and groups together have more than ${maxMemberships} memberships.`,
  );
}
