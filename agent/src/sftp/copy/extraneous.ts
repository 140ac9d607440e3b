// What a mirror has to delete: what the destination has and the source has not.

import type { TransferPlan } from '../transfer-plan.ts';
import { isReadable, isSafeName } from '../tree/safe-name.ts';
import { temporaryPrefix } from '../tree/temporary-name.ts';
import type { Directory } from '../tree/tree.ts';

export interface Extraneous {
  /** Directories on the way to it, from the top. */
  parents: string[];
  name: string;
  isDirectory: boolean;
}

/**
 * In the order in which it can be deleted, and no more than the given number. What a pattern leaves out of the transfer
 * is left at the destination too.
 */
export async function findExtraneous(
  from: Directory,
  to: Directory,
  { filter }: Pick<TransferPlan, 'filter'>,
  { most, signal }: { most: number; signal: AbortSignal },
): Promise<Extraneous[]> {
  const found: Extraneous[] = [];
  const visit = async (source: Directory | undefined, there: Directory, parents: string[]): Promise<void> => {
    signal.throwIfAborted();
    const known = new Map((await source?.list())?.map((entry) => [entry.name, entry]));
    for (const entry of await there.list()) {
      const { name, kind } = entry;
      const isOurs = name.startsWith(temporaryPrefix);
      const relative = [...parents, name].join('/');
      if (isOurs || !isSafeName(name) || !isReadable(name) || !filter(relative, kind === 'directory'))
        continue;
      const counterpart = known.get(name);
      if (kind === 'directory' && (counterpart === undefined || counterpart.kind === 'directory')) {
        const inner = counterpart === undefined ? undefined : await source?.enter(name);
        const inside = await there.enter(name);
        try {
          await visit(inner, inside, [...parents, name]);
        } finally {
          await inside.close();
          await inner?.close();
        }
      }
      if (counterpart === undefined) found.push({ parents, name, isDirectory: kind === 'directory' });
      if (found.length >= most) return;
    }
  };
  await visit(from, to, []);
  return found.slice(0, most);
}

/** Deletes one of them. */
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
