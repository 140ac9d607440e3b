// The order in which groups are resolved: a group that selects members of others comes after those.
import { limits, parseSelector, patternsOf, type Selector } from '@opsconductor/protocol';

export interface SelectingGroup {
  id: number;
  name: string;
  selector: Selector;
  /** Names of the groups whose members it selects. */
  selects: ReadonlySet<string>;
}

export class GroupOrderError extends Error {
  override readonly name = 'GroupOrderError';
}

export function selectingGroup(row: { id: number; name: string; selector: string }): SelectingGroup {
  const selector = parseSelector(row.selector);
  return {
    id: row.id,
    name: row.name,
    selector,
    selects: new Set(patternsOf(selector, 'group').map(({ pattern }) => pattern)),
  };
}

/**
 * Sorts groups into levels: each group selects only members of groups in earlier levels.
 * @throws {GroupOrderError} for groups that select each other in a cycle, or deeper than the limit.
 */
export function orderGroups(groups: readonly SelectingGroup[]): SelectingGroup[][] {
  const byName = new Map(groups.map((group) => [group.name, group]));
  const depths = new Map<string, number>();
  const levels: SelectingGroup[][] = [];
  const visit = (group: SelectingGroup, path: readonly string[]): number => {
    const known = depths.get(group.name);
    if (known !== undefined) return known;
    const way = [...path, group.name];
    if (path.includes(group.name)) {
      const circle = way.slice(path.indexOf(group.name)).join('” selects “');
      throw new GroupOrderError(`Groups select each other in a cycle: “${circle}”.`);
    }
    let depth = 1;
    for (const name of group.selects) {
      const selected = byName.get(name);
      depth = Math.max(depth, 1 + (selected === undefined ? 1 : visit(selected, way)));
    }
    if (depth > limits.maxGroupDepth) {
      throw new GroupOrderError(
        `“${group.name}” selects groups nested deeper than ${limits.maxGroupDepth} levels.`,
      );
    }
    depths.set(group.name, depth);
    const level = levels[depth];
    if (level === undefined) levels[depth] = [group];
    else level.push(group);
    return depth;
  };
  for (const group of groups) visit(group, []);
  return levels.filter((level) => level !== undefined);
}
