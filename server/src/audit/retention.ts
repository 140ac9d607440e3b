// Removes old rows, and says so: in a signed note that a verifier accepts for their absence, and in the log itself.
// Their hashes stay, so everything that is left is as provable as before.
import { isSignedNote, maxNoteLength, originOf, signNote } from '@opsconductor/protocol/audit';
import {
  deleteRetained,
  insertRetentionNote,
  retainedBelow,
  sizeSealedBefore,
} from '../store/audit/audit-seals.ts';
import { inTransaction } from '../store/database/transaction.ts';
import { recordAudit } from './record-audit.ts';
import type { SealDeps } from './seal-rows.ts';

const positionsPerDelete = 2_000;
/** Where rows are gone already, so many portions are gone past at once. */
const deletesAtOnce = 50;

/** Removes rows a portion at a time, as nothing is sealed meanwhile. */
export class Retention {
  readonly #deps: SealDeps;
  /** Rows go in the order of their positions, and their leaves stay: where the next ones are is kept, not looked for. */
  #goneBelow = 0;
  #removed = 0;

  constructor(deps: SealDeps) {
    this.#deps = deps;
  }

  /** Notes that what was sealed longer ago than so many days is removed. */
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

  /** Removes the next rows that are noted; says how many, and whether there may be more. */
  async removeSome(): Promise<{ rows: number; more: boolean }> {
    const { sql, log } = this.#deps;
    const below = await retainedBelow(sql);
    // Less than before: it is another log, as one that was restored.
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
      log.info({ rows: this.#removed }, 'old rows of the audit log were removed');
      this.#removed = 0;
    }
    return { rows, more };
  }
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
