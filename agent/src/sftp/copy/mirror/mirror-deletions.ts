// The deletions of a mirror: found and counted before anything is changed, and carried out only if everything else
// succeeded.

import { cutText } from '../../../cut-text.ts';
import type { Ends } from '../../find-ends.ts';
import type { TransferReport } from '../../report/transfer-report.ts';
import type { TransferPlan } from '../../transfer-plan.ts';
import { toldPath } from '../../tree/shown-path.ts';
import { TransferError } from '../../tree/transfer-error.ts';
import type { Directory } from '../../tree/tree.ts';
import { type Conduct, withRetries } from '../copy-file.ts';
import type { Listings } from '../listings.ts';
import { deleteExtraneous, type Extraneous, findExtraneous } from './extraneous.ts';

/** Finds what to delete; `carryOut` deletes it. Rejects if there is more to delete than allowed. */
export async function mirrorDeletions(
  ends: Ends,
  plan: TransferPlan,
  conduct: Conduct,
  listings: Listings,
): Promise<{ carryOut(report: TransferReport): Promise<void> }> {
  const { maxDelete } = plan;
  if (maxDelete === undefined) return { carryOut: async () => undefined };
  const found = await atBothTops(ends, (from, to) =>
    findExtraneous(from, to, plan, { most: maxDelete + 1, signal: conduct.signal, listings }),
  );
  if (found.length > maxDelete) throw tooMany(maxDelete);
  return {
    carryOut: async (report) => {
      if (found.length === 0 || report.totals.failed > 0) return;
      await atBothTops(ends, async (_, to) => {
        for (const each of found) await deleteOne(to, each, { plan, conduct, report });
        return [];
      });
    },
  };
}

async function deleteOne(
  top: Directory,
  each: Extraneous,
  { plan, conduct, report }: { plan: TransferPlan; conduct: Conduct; report: TransferReport },
): Promise<void> {
  const relative = [...each.parents, each.name].join('/');
  const path = cutText(toldPath(`${top.path}/${relative}`), 1_000);
  const place = plan.direction === 'push' ? { remotePath: path } : { localPath: path };
  const row = { operation: 'delete' as const, bytesTransferred: 0, ...place };
  try {
    if (!plan.dryRun) await deleteWithRetries(top, each, conduct);
    report.count('deleted');
    report.done(() => ({ ...row, ...(plan.dryRun ? { status: 'planned' as const } : {}) }));
  } catch (error) {
    conduct.signal.throwIfAborted();
    report.fail(relative, error, row);
  }
}

/** On a retry, "missing" counts as success: an earlier try whose answer was lost may have deleted it. */
async function deleteWithRetries(top: Directory, each: Extraneous, conduct: Conduct): Promise<void> {
  let hasTried = false;
  await withRetries(conduct, async () => {
    try {
      await deleteExtraneous(top, each);
    } catch (error) {
      const isGone = error instanceof TransferError && error.reason === 'path_missing';
      if (!hasTried || !isGone) throw error;
    } finally {
      hasTried = true;
    }
  });
}

/** Calls `act` with the two directories to compare, unless the destination doesn't exist yet. */
async function atBothTops(
  { from, entry, to, toName, there }: Ends,
  act: (from: Directory, to: Directory) => Promise<Extraneous[]>,
): Promise<Extraneous[]> {
  if (toName !== undefined && there?.kind !== 'directory') return [];
  const source = entry === undefined ? from : await from.enter(entry.name);
  try {
    const destination = toName === undefined ? to : await to.enter(toName);
    try {
      return await act(source, destination);
    } finally {
      if (destination !== to) await destination.close();
    }
  } finally {
    if (source !== from) await source.close();
  }
}

function tooMany(maxDelete: number): TransferError {
  return new TransferError({
    reason: 'delete_limit',
    message: `More than ${maxDelete} files and directories would be deleted, which max_delete does not allow. Nothing was changed.`,
    advice:
      'Look at what would be deleted, with dry_run and a higher max_delete, and check that the source is the right one.',
  });
}
