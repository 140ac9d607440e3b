// The end of every analysis, whatever the language: a place that no rule has allowed is refused, and so is a value that
// has no text of its own.
import type { Analysis, Hole, Refusal, Site } from './sites.ts';

/** What an analysis has found. Refusals are keyed so that each place is refused once, for the first reason. */
interface Found<Key> {
  holes: ReadonlyMap<number, Hole>;
  sites: Map<number, Site>;
  refusals: ReadonlyMap<Key, Refusal>;
  keyOf(at: number): Key;
  /** Refuses the hole at an offset, unless it is refused already. */
  refuse(at: number, reason: 'structure' | 'elsewhere'): void;
}

export function concludeAnalysis<Key>({ holes, sites, refusals, keyOf, refuse }: Found<Key>): Analysis {
  for (const [at, { type }] of holes) {
    if (type === 'array' || type === 'object') refuse(at, 'structure');
    else if (!sites.has(at)) refuse(at, 'elsewhere');
    if (refusals.has(keyOf(at))) sites.delete(at);
  }
  return { sites, refusals: [...refusals.values()].sort((a, b) => a.at - b.at) };
}
