// The order in which a run's targets start.
import type { TargetOrder } from '@opsconductor/protocol';

/** The targets in the order; of `selection` as they are given. The same seed gives the same random order. */
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

/** Fisher-Yates by a generator of 32 bits (mulberry32): no secret depends on it. */
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
