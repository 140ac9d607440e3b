// Decides whether a file of the source replaces the one at the destination.
import type { Overwrite } from '../transfer-plan.ts';
import type { Directory, Entry } from '../tree/tree.ts';

/** Decides from what listings say. Even if it returns true, the files may still turn out to be the same. */
export function mayReplace(overwrite: Overwrite, source: Entry, there: Entry): boolean {
  switch (overwrite) {
    case 'always':
    case 'different':
      return true;
    case 'newer':
      return source.mtimeS > there.mtimeS;
    case 'update':
      return there.kind !== 'file' || there.mtimeS <= source.mtimeS;
    case 'never':
    case 'fail':
      return false;
  }
}

/** Returns whether two files differ: in size, or else in time or in content, as `compare` says. */
export async function isDifferent(
  {
    entry,
    from,
    to,
    toName,
    there,
  }: { entry: Entry; from: Directory; to: Directory; toName: string; there: Entry | undefined },
  compare: 'time' | 'checksum',
): Promise<boolean> {
  if (there === undefined || there.kind !== 'file' || there.size !== entry.size) return true;
  if (compare === 'time') return there.mtimeS !== entry.mtimeS;
  const [ours, theirs] = await Promise.all([hashOf(from, entry.name), hashOf(to, toName)]);
  return ours !== theirs;
}

async function hashOf(directory: Directory, name: string): Promise<string> {
  const source = await directory.openSource(name);
  try {
    return await source.hash(source.size);
  } finally {
    await source.close();
  }
}
