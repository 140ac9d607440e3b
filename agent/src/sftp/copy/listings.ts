// What directories had in them a moment ago, so that who has just looked at all of them need not ask again.
import { boundYoungGeneration } from '../../heap-growth.ts';
import type { Directory, Entry } from '../tree/tree.ts';

/** Beyond these, directories are listed again: a tree may be larger than memory. */
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

  /** Once; from then on it is asked for again. */
  take(side: Side, { path }: Directory): Entry[] | undefined {
    const key = `${side} ${path}`;
    const entries = this.#kept.get(key);
    this.#kept.delete(key);
    return entries;
  }
}
