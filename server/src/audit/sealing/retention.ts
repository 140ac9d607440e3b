// Removes old rows, and records that: in a signed note, because of which a verifier accepts their absence, and in the
// log itself. Their hashes stay, so everything that is left remains provable.
import { isSignedNote, maxNoteLength, originOf, signNote } from '@opsconductor/protocol/audit';
import {
  deleteRetained,
  insertRetentionNote,
  retainedBelow,
  sizeSealedBefore,
} from '../../store/audit/audit-seals.ts';
import { inTransaction } from '../../store/database/transaction.ts';
import { recordAudit } from '../record-audit.ts';
import type { SealDeps } from './seal-rows.ts';

const positionsPerDelete = 2_000;
/** Number of portions to skip at once if their rows are already gone. */
const deletesAtOnce = 50;

/** Removes rows in portions, because nothing is sealed meanwhile. */
export class Retention {
  readonly #deps: SealDeps;
  /**
   * Everything below this position is gone. Rows go in the order of their positions while their leaves stay, so the
   * next ones don't have to be searched for.
   */
  #goneBelow = 0;
  #removed = 0;

  constructor(deps: SealDeps) {
    this.#deps = deps;
  }

  /** Signs a note that rows sealed more than `days` ago are removed. */
  async note(days: number): Promise<void> {
    const { sql, installation } = this.#deps;
    const below = await sizeSealedBefore(sql, days);
    if (below === undefined) return;
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

  /** Removes the next rows that a note names. Returns how many, and whether there may be more. */
  async removeSome(): Promise<{ rows: number; more: boolean }> {
    const { sql, log } = this.#deps;
    const below = await retainedBelow(sql);
    // Lower than before: this is another log, such as a restored one.
    if (below < this.#goneBelow) this.#goneBelow = 0;
    let rows = 0;
    for (let n = 0; n < deletesAtOnce && rows === 0 && this.#goneBelow < below; n++) {
      const to = Math.min(this.#goneBelow + positionsPerDelete, below);
      rows = await deleteRetained(sql, this.#goneBelow, to);
      this.#goneBelow = to;
    }
    this.#removed += rows;
    const more = this.#goneBelow < below;
    if (!more && this.#removed > 0) {
      log.info({ rows: this.#removed }, 'removed audit rows older than --audit-retention-days');
      this.#removed = 0;
    }
    return { rows, more };
  }
}

/**
 * Returns the position below which a note says that rows may be gone; undefined if the installation did not sign it.
 */
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

/** Returns the key name for notes of retention, so that a checkpoint is never taken for one. */
function retentionName(installationId: string): string {
  return `${originOf(installationId)}/retention`;
}

function retentionText(name: string, below: number): string {
  return `${name}\nremoved below ${below}\n`;
}
