// Names that a destination takes for one.
import type { TransferPlan } from '../transfer-plan.ts';
import type { Directory, Entry } from '../tree/tree.ts';

/** What is listed in the destination, by the names that it is looked for by. */
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
 * What the destination lists under other names than the source has, and yet takes for the same: as `readme` where README
 * was put, on a disk that does not tell them apart. With the name that the source has.
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
      .filter(({ name }) => !ours.has(sameName(to, name)))
      .map((entry) => [folded(entry.name), entry] as const),
  );
  const taken = new Map<Entry, string>();
  if (others.size === 0) return taken;
  for (const { name } of sources) {
    const other = theirs.has(sameName(to, name)) ? undefined : others.get(folded(name));
    if (other !== undefined && (await to.look(name)) !== undefined) taken.set(other, name);
  }
  return taken;
}

/** What names have in common that differ in case, or in how their letters are composed. */
export function folded(name: string): string {
  return name.normalize('NFC').toLowerCase();
}

/** Whether the destination has by this name what was just put there by a name that is like it. */
export async function isTaken(
  { to, toName, there }: { to: Directory; toName: string; there: Entry | undefined },
  alike: string,
  { dryRun }: TransferPlan,
): Promise<boolean> {
  if (sameName(to, toName) === sameName(to, alike)) return true;
  return !dryRun && there === undefined && (await to.look(toName)) !== undefined;
}

export function sameName(directory: Directory, name: string): string {
  return directory.sameName?.(name) ?? name;
}
