// Sorts a run's targets into the order in which they start.
import type { TargetOrder } from '@opsconductor/protocol';

/**
 * Returns the targets in the given order. `selection` keeps them as they are; the same seed gives the same random
 * order.
 */
export function orderTargets<T extends { id: number; name: string }>(
  targets: readonly T[],
  order: TargetOrder,
  seed: number,
): T[] {
  switch (order) {
    case 'selection':
      return [...targets];
    case 'reverse':
      return [...targets].reverse();
    case 'name':
      return [...targets].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : a.id - b.id));
    case 'random':
      return shuffled(targets, seed);
  }
}

/** Fisher-Yates shuffle with a 32-bit generator (mulberry32), which is good enough as nothing secret depends on it. */
function shuffled<T>(values: readonly T[], seed: number): T[] {
  let state = seed >>> 0;
  const random = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const result = [...values];
  for (let last = result.length - 1; last > 0; last -= 1) {
    const other = Math.floor(random() * (last + 1));
    [result[last], result[other]] = [result[other] as T, result[last] as T];
  }
  return result;
}
