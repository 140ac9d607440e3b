// Removes old rows, and says so: in a signed note that a verifier accepts for their absence, and in the log itself.
// Their hashes stay, so everything that is left is as provable as before.
import { isSignedNote, maxNoteLength, originOf, signNote } from '@opsconductor/protocol/audit';
import { deleteRetained, insertRetentionNote, sizeSealedBefore } from '../store/audit/audit-seals.ts';
import { inTransaction } from '../store/database/transaction.ts';
import { recordAudit } from './record-audit.ts';
import type { SealDeps } from './seal-rows.ts';

const rowsPerDelete = 2_000;

/** Removes what was sealed longer ago than so many days; returns how many rows that were. */
export async function applyRetention(deps: SealDeps, days: number): Promise<number> {
  const { sql, installation, log } = deps;
  const below = await sizeSealedBefore(sql, days);
  if (below !== undefined) {
    const name = retentionName(installation.installationId);
    const note = await signNote(installation.serverKey, name, retentionText(name, below));
    await inTransaction(sql, async (tx) => {
      await insertRetentionNote(tx, below, note);
      await recordAudit(tx, {
        actor: { kind: 'system', name: 'audit' },
        action: 'audit.retained',
        detail: { removedBelowPosition: below, days },
      });
    });
  }
  let removed = 0;
  for (let count = rowsPerDelete; count === rowsPerDelete; removed += count)
    count = await deleteRetained(sql, rowsPerDelete);
  if (removed > 0) log.info({ rows: removed, days }, 'old rows of the audit log were removed');
  return removed;
}

/** The position below which a note says that rows may be gone; undefined where the installation did not sign it. */
export async function readRetentionNote(
  installation: { publicKey: Uint8Array; installationId: string },
  note: string,
): Promise<number | undefined> {
  const name = retentionName(installation.installationId);
  const below = Number(/\nremoved below (\d{1,15})\n\n/.exec(note)?.[1]);
  const isTrue =
    note.length <= maxNoteLength &&
    note.startsWith(`${retentionText(name, below)}\n`) &&
    (await isSignedNote(installation.publicKey, name, note));
  return isTrue ? below : undefined;
}

/** Key name of the notes of retention, so that a checkpoint is never taken for one. */
function retentionName(installationId: string): string {
  return `${originOf(installationId)}/retention`;
}

function retentionText(name: string, below: number): string {
  return `${name}\nremoved below ${below}\n`;
}
