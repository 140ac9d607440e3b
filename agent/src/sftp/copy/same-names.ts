// Names that a destination takes for one.
import type { TransferPlan } from '../transfer-plan.ts';
import type { Directory, Entry } from '../tree/tree.ts';

/** @param listed what is in it, where that is known. */
export async function entriesOf(directory: Directory, listed?: Entry[]): Promise<Map<string, Entry>> {
  return new Map(
    (listed ?? (await directory.list())).map((entry) => [sameName(directory, entry.name), entry]),
  );
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
