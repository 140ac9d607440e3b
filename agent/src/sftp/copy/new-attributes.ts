// Decides the permissions, times and owner that a copy gets.
import { modeMask } from '../local/local-file.ts';
import type { TransferPlan } from '../transfer-plan.ts';
import type { Attributes, Entry, Owner } from '../tree/tree.ts';

/** Attributes of what is copied. */
export interface Original {
  mode: number;
  /** Undefined if an scp doesn't send it. */
  mtimeS: number | undefined;
  owner?: Owner | undefined;
}

/**
 * Returns the attributes of a copied file. By default, as with scp, a new file gets the source's bits, but only the
 * owner may write; a file that is replaced keeps its own bits.
 */
export function fileAttributes(plan: TransferPlan, source: Original, there: Entry | undefined): Attributes {
  const kept = there?.kind === 'file' ? there.mode : source.mode & 0o755;
  const mode = plan.fileMode ?? (plan.preservePermissions ? source.mode : kept);
  return {
    mode,
    ...newTimes(plan, source),
    ...newOwner(plan, source, undefined),
  };
}

/** Returns what to change on a file whose bytes are there already; undefined if nothing. */
export function changedAttributes(plan: TransferPlan, entry: Entry, there: Entry): Attributes | undefined {
  return orNone({
    ...newMode(plan, entry, there),
    ...(plan.preserveTimes && entry.mtimeS !== there.mtimeS ? { mtimeS: entry.mtimeS } : {}),
    ...newOwner(plan, entry, there),
  });
}

/** Returns the attributes of a directory that has been filled; undefined if they stay. */
export function directoryAttributes(
  plan: TransferPlan,
  entry: Original,
  there: Entry | undefined,
): Attributes | undefined {
  const others = {
    ...newTimes(plan, entry),
    ...newOwner(plan, entry, there),
  };
  if (there === undefined) {
    const own = plan.preservePermissions ? entry.mode : entry.mode & 0o755;
    return { mode: plan.directoryMode ?? own, ...others };
  }
  return orNone({ ...newMode(plan, entry, there), ...others });
}

/** Returns nothing if permissions aren't preserved, or are as right as they can be at the destination. */
function newMode(
  { preservePermissions, direction }: TransferPlan,
  { mode }: Pick<Original, 'mode'>,
  there: Entry,
): Pick<Attributes, 'mode'> {
  const wanted = direction === 'pull' ? mode & modeMask : mode;
  return preservePermissions && wanted !== there.mode ? { mode: wanted } : {};
}

function newTimes({ preserveTimes }: TransferPlan, { mtimeS }: Original): Pick<Attributes, 'mtimeS'> {
  return preserveTimes && mtimeS !== undefined ? { mtimeS } : {};
}

/** Returns nothing if the owner isn't preserved, or is right already. */
function newOwner(
  { preserveOwner }: TransferPlan,
  { owner }: Pick<Original, 'owner'>,
  there: Entry | undefined,
): Pick<Attributes, 'owner'> {
  if (preserveOwner !== true || owner === undefined) return {};
  const has = there?.owner?.uid === owner.uid && there.owner.gid === owner.gid;
  return has ? {} : { owner };
}

function orNone(attributes: Attributes): Attributes | undefined {
  return Object.keys(attributes).length > 0 ? attributes : undefined;
}
