// Finds and deletes what a mirror has to delete: what the destination has and the source doesn't.

import { Semaphore } from '../../../timing/semaphore.ts';
import { Turn } from '../../../timing/turn.ts';
import type { TransferPlan } from '../../transfer-plan.ts';
import { isSafeName } from '../../tree/safe-name.ts';
import { temporaryPrefix } from '../../tree/temporary-name.ts';
import type { Directory, Entry } from '../../tree/tree.ts';
import { type BothSides, LargeDirectories } from '../large-directories.ts';
import type { Listings } from '../listings.ts';
import { takenFor } from '../refusals/same-names.ts';
import { maxDepth, tooDeep } from '../refusals/tree-refusals.ts';

/** Further directories are visited one at a time by the visit that has found them. */
const directoriesAtATime = 16;

export interface Extraneous {
  /** Names of the directories that lead to it, from the top. */
  parents: readonly string[];
  name: string;
  isDirectory: boolean;
}

/**
 * Returns what has to be deleted, in an order in which it can be deleted, and at most `most`. What a pattern excludes
 * from the transfer is kept at the destination too.
 */
export async function findExtraneous(
  from: Directory,
  to: Directory,
  { filter }: Pick<TransferPlan, 'filter'>,
  { most, signal, listings }: { most: number; signal: AbortSignal; listings: Listings },
): Promise<Extraneous[]> {
  const search = new ExtraneousSearch({ filter, most, signal, listings });
  const found = await search.visit({ source: from, there: to, parents: [], large: new LargeDirectories() });
  return found.slice(0, most);
}

/** A directory of the destination with its counterpart, if it has one. */
interface Visited {
  source: Directory | undefined;
  there: Directory;
  /** Names of the directories that contain it, from the top, and its own. */
  parents: readonly string[];
  /** What is held of those. */
  large: LargeDirectories;
}

interface SearchOptions extends Pick<TransferPlan, 'filter'> {
  most: number;
  signal: AbortSignal;
  listings: Listings;
}

class ExtraneousSearch {
  readonly #options: SearchOptions;
  readonly #slots = new Semaphore(directoriesAtATime);
  #count = 0;

  constructor(options: SearchOptions) {
    this.#options = options;
  }

  async visit(visited: Visited): Promise<Extraneous[]> {
    const { signal, listings } = this.#options;
    const { source, there, parents } = visited;
    signal.throwIfAborted();
    if (parents.length > maxDepth) throw tooDeep(there.path);
    const { both, inside, release } = await visited.large.list(there.path, () =>
      Promise.all([source === undefined ? [] : listings.list('from', source), listings.list('to', there)]),
    );
    try {
      return await this.#compare({ ...visited, large: inside }, both);
    } finally {
      release();
    }
  }

  async #compare(visited: Visited, [known, entries]: BothSides): Promise<Extraneous[]> {
    const { source, there, parents } = visited;
    const { filter, most } = this.#options;
    const sources = new Map(known.map((entry) => [entry.name, entry]));
    const taken = source === undefined ? new Map<Entry, string>() : await takenFor(there, known, entries);
    const found: (Extraneous[] | Promise<Extraneous[]>)[] = [];
    const turn = new Turn();
    for (const entry of entries) {
      if (turn.isOver) await turn.next();
      const { name, kind } = entry;
      if (this.#count >= most) break;
      const isOurs = name.startsWith(temporaryPrefix);
      const relative = [...parents, name].join('/');
      if (isOurs || !isSafeName(name) || !filter(relative, kind === 'directory')) continue;
      const counterpart = sources.get(taken.get(entry) ?? name);
      if (kind === 'directory' && (counterpart === undefined || counterpart.kind === 'directory')) {
        const hasPlace = this.#slots.tryTake();
        const inside = this.#visitInside(visited, name, counterpart?.name);
        const work = inside.finally(() => hasPlace && this.#slots.give());
        found.push(work);
        // An error is reported once all visits have ended.
        work.catch(() => undefined);
        if (!hasPlace) await Promise.allSettled([work]);
      }
      if (counterpart !== undefined) continue;
      this.#count += 1;
      found.push([{ parents, name, isDirectory: kind === 'directory' }]);
    }
    // Wait for all of them, even if one has failed: none may be in progress when directories are closed.
    await Promise.allSettled(found);
    return (await Promise.all(found)).flat();
  }

  /** Visits the directory `name`, whose counterpart in the source, if there is one, has the name `sourceName`. */
  async #visitInside(
    { source, there, parents, large }: Visited,
    name: string,
    sourceName: string | undefined,
  ): Promise<Extraneous[]> {
    const inner = sourceName === undefined ? undefined : await source?.enter(sourceName);
    try {
      const inside = await there.enter(name);
      try {
        return await this.visit({ source: inner, there: inside, parents: [...parents, name], large });
      } finally {
        await inside.close();
      }
    } finally {
      await inner?.close();
    }
  }
}

/** Deletes one file, or one directory that is empty by now. */
export async function deleteExtraneous(
  top: Directory,
  { parents, name, isDirectory }: Extraneous,
): Promise<void> {
  let at = top;
  try {
    for (const parent of parents) {
      const next = await at.enter(parent);
      if (at !== top) await at.close();
      at = next;
    }
    await (isDirectory ? at.removeDirectory(name) : at.removeFile(name));
  } finally {
    if (at !== top) await at.close();
  }
}
