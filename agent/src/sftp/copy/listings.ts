// Keeps listings of directories for a moment, so that a copy that follows a comparison need not list them again.
import { boundYoungGeneration } from '../../memory/heap-growth.ts';
import type { Directory, Entry } from '../tree/tree.ts';

/** Limit on kept entries, since a tree may be larger than memory. Further directories are listed again. */
const maxEntries = 50_000;

export type Side = 'from' | 'to';

export class Listings {
  readonly #kept = new Map<string, Entry[]>();
  #entries = 0;

  async list(side: Side, directory: Directory): Promise<Entry[]> {
    const entries = await directory.list();
    boundYoungGeneration();
    if (this.#entries + entries.length <= maxEntries) {
      this.#entries += entries.length;
      this.#kept.set(`${side} ${directory.path}`, entries);
    }
    return entries;
  }

  /** Returns a kept listing, and forgets it. */
  take(side: Side, { path }: Directory): Entry[] | undefined {
    const key = `${side} ${path}`;
    const entries = this.#kept.get(key);
    this.#kept.delete(key);
    return entries;
  }
}
