// Finds and deletes what a mirror has to delete: what the destination has and the source doesn't.

import { Semaphore } from '../../timing/semaphore.ts';
import { Turn } from '../../timing/turn.ts';
import type { TransferPlan } from '../transfer-plan.ts';
import { isSafeName } from '../tree/safe-name.ts';
import { temporaryPrefix } from '../tree/temporary-name.ts';
import type { Directory, Entry } from '../tree/tree.ts';
import { type BothSides, LargeDirectories } from './large-directories.ts';
import type { Listings } from './listings.ts';
import { takenFor } from './same-names.ts';
import { maxDepth, tooDeep } from './tree-refusals.ts';

/** Further directories are visited one at a time by the visit that has found them. */
const directoriesAtATime = 16;

export interface Extraneous {
  /** Names of the directories that lead to it, from the top. */
  parents: string[];
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
  const slots = new Semaphore(directoriesAtATime);
  let count = 0;
  const visit = async (
    source: Directory | undefined,
    there: Directory,
    parents: string[],
    large: LargeDirectories,
  ): Promise<Extraneous[]> => {
    signal.throwIfAborted();
    if (parents.length > maxDepth) throw tooDeep(there.path);
    const { both, inside, release } = await large.list(there.path, () =>
      Promise.all([source === undefined ? [] : listings.list('from', source), listings.list('to', there)]),
    );
    try {
      return await compare(source, there, parents, both, inside);
    } finally {
      release();
    }
  };
  const compare = async (
    source: Directory | undefined,
    there: Directory,
    parents: string[],
    [known, entries]: BothSides,
    large: LargeDirectories,
  ): Promise<Extraneous[]> => {
    const sources = new Map(known.map((entry) => [entry.name, entry]));
    const taken = source === undefined ? new Map<Entry, string>() : await takenFor(there, known, entries);
    const found: (Extraneous[] | Promise<Extraneous[]>)[] = [];
    const turn = new Turn();
    for (const entry of entries) {
      if (turn.isOver) await turn.next();
      const { name, kind } = entry;
      if (count >= most) break;
      const isOurs = name.startsWith(temporaryPrefix);
      const relative = [...parents, name].join('/');
      if (isOurs || !isSafeName(name) || !filter(relative, kind === 'directory')) continue;
      const counterpart = sources.get(taken.get(entry) ?? name);
      if (kind === 'directory' && (counterpart === undefined || counterpart.kind === 'directory')) {
        const inside = () =>
          visitInside({ source, name: counterpart?.name }, there, [...parents, name], large);
        const hasPlace = slots.tryTake();
        const work = inside().finally(() => hasPlace && slots.give());
        found.push(work);
        // An error is reported once all visits have ended.
        work.catch(() => undefined);
        if (!hasPlace) await Promise.allSettled([work]);
      }
      if (counterpart !== undefined) continue;
      count += 1;
      found.push([{ parents, name, isDirectory: kind === 'directory' }]);
    }
    // Wait for all of them, even if one has failed: none may be in progress when directories are closed.
    await Promise.allSettled(found);
    return (await Promise.all(found)).flat();
  };
  const visitInside = async (
    ours: { source: Directory | undefined; name: string | undefined },
    there: Directory,
    path: string[],
    large: LargeDirectories,
  ): Promise<Extraneous[]> => {
    const name = path.at(-1) ?? '';
    const inner = ours.name === undefined ? undefined : await ours.source?.enter(ours.name);
    try {
      const inside = await there.enter(name);
      try {
        return await visit(inner, inside, path, large);
      } finally {
        await inside.close();
      }
    } finally {
      await inner?.close();
    }
  };
  return (await visit(from, to, [], new LargeDirectories())).slice(0, most);
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
