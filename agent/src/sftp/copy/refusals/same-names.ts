// Handles names that differ at the source and are the same name for the destination.
import type { TransferPlan } from '../../transfer-plan.ts';
import { isSafeName } from '../../tree/safe-name.ts';
import type { Directory, Entry } from '../../tree/tree.ts';

/** Returns the destination's entries, by the names under which the source's entries look for them. */
export async function entriesOf(
  to: Directory,
  sources: readonly Entry[],
  listed: readonly Entry[],
): Promise<Map<string, Entry>> {
  const found = new Map(listed.map((entry) => [sameName(to, entry.name), entry]));
  for (const [entry, name] of await takenFor(to, sources, listed)) found.set(sameName(to, name), entry);
  return found;
}

/**
 * Returns the entries that the destination lists under a different name but takes for one of the source's names, each
 * with the source's name. For example, `readme` for README on a disk that ignores case.
 */
export async function takenFor(
  to: Directory,
  sources: readonly Entry[],
  listed: readonly Entry[],
): Promise<Map<Entry, string>> {
  const namesOf = (entries: readonly Entry[]) => new Set(entries.map(({ name }) => sameName(to, name)));
  const [ours, theirs] = [namesOf(sources), namesOf(listed)];
  const others = new Map(
    listed
      .filter(({ name }) => isSafeName(name) && !ours.has(sameName(to, name)))
      .map((entry) => [folded(entry.name), entry] as const),
  );
  const taken = new Map<Entry, string>();
  if (others.size === 0) return taken;
  for (const { name } of sources) {
    if (!isSafeName(name)) continue;
    const other = theirs.has(sameName(to, name)) ? undefined : others.get(folded(name));
    if (other !== undefined && (await to.look(name)) !== undefined) taken.set(other, name);
  }
  return taken;
}

/** Returns a form that is the same for names that differ only in case or Unicode composition. */
export function folded(name: string): string {
  return name.normalize('NFC').toLowerCase();
}

/** Returns whether this name at the destination is already what was just put there under the name `alike`. */
export async function isTaken(
  { to, toName, there }: { to: Directory; toName: string; there: Entry | undefined },
  alike: string,
  { dryRun }: TransferPlan,
): Promise<boolean> {
  if (sameName(to, toName) === sameName(to, alike)) return true;
  return !dryRun && there === undefined && (await to.look(toName)) !== undefined;
}

/** Returns a name in the form that is equal for all names that the directory takes for the same. */
export function sameName(directory: Directory, name: string): string {
  return directory.sameName?.(name) ?? name;
}
