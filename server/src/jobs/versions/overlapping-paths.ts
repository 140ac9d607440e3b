// Finds what two people have both changed since the version that each began with.
import { isDeepStrictEqual } from 'node:util';
import type { DefinitionChange } from '@opsconductor/protocol';

/**
 * Returns the paths in the common base that both sides changed differently, including changes nested in each other. Each
 * side may have thousands of changes, so they are found by their paths and not compared each with every other.
 */
export function overlappingPaths(
  theirs: readonly DefinitionChange[],
  yours: readonly DefinitionChange[],
): string[] {
  const at = new Map<string, DefinitionChange[]>();
  const below = new Map<string, DefinitionChange[]>();
  for (const change of theirs) {
    const path = baseOf(change);
    add(at, path, change);
    for (const outer of outerPaths(path)) add(below, outer, change);
  }
  const paths = yours.map(baseOf);
  const overlapping = yours.filter((mine, n) => {
    const path = paths[n] ?? '';
    const met = [path, ...outerPaths(path)].flatMap((each) => at.get(each) ?? []);
    return [...met, ...(below.get(path) ?? [])].some(
      (their) => !(mine.kind === their.kind && isDeepStrictEqual(mine.after, their.after)),
    );
  });
  return [...new Set(overlapping.map(baseOf))];
}

function baseOf({ path, beforePath }: DefinitionChange): string {
  return beforePath ?? path;
}

/** The paths of what contains this place: of `a.b[0]`, `a.b` and `a`. */
function outerPaths(path: string): string[] {
  return [...path.matchAll(/[.[]/g)].map(({ index }) => path.slice(0, index));
}

function add(map: Map<string, DefinitionChange[]>, path: string, change: DefinitionChange): void {
  const there = map.get(path);
  if (there === undefined) map.set(path, [change]);
  else there.push(change);
}
