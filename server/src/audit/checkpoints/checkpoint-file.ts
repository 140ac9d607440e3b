// Appends every checkpoint to a file (--audit-checkpoints), best on a volume that the server can only append to. At
// start-up, the file is compared with the log: a log that is behind the file was truncated or rolled back.
import { open } from 'node:fs/promises';
import { CheckpointError, readCheckpoint, type SignedCheckpoint } from '@opsconductor/protocol/audit';
import type { Log } from '../../log.ts';
import { checkpointOfNumber, checkpointsAfter, latestCheckpoint } from '../../store/audit/audit-seals.ts';
import type { Sql } from '../../store/database/connection.ts';
import { recordAudit } from '../record-audit.ts';
import { splitNotes } from './checkpoint-notes.ts';

const notesPerWrite = 500;
const tailBytes = 16 * 1024;

export class CheckpointFile {
  readonly #path: string;
  readonly #sql: Sql;
  readonly #log: Log;
  /** Number of the newest checkpoint in the file; undefined until the file was read. */
  #number: number | undefined;
  /** A crash left a half-written note, so the next one begins on a new line. */
  #isTorn = false;
  /**
   * What was logged about a log that does not continue the file, so that it is logged once, however often recording it
   * fails.
   */
  #told = '';

  constructor(path: string, deps: { sql: Sql; log: Log }) {
    this.#path = path;
    this.#sql = deps.sql;
    this.#log = deps.log;
  }

  /** Appends new checkpoints. They are on disk when this resolves. */
  async append(): Promise<void> {
    this.#number ??= await this.#compare();
    for (;;) {
      const rows = await checkpointsAfter(this.#sql, this.#number, notesPerWrite);
      const last = rows.at(-1);
      if (last === undefined) return;
      const file = await open(this.#path, 'a', 0o640);
      try {
        await file.writeFile(`${this.#isTorn ? '\n' : ''}${rows.map((row) => `${row.note}\n`).join('')}`);
        await file.sync();
      } finally {
        await file.close();
      }
      this.#isTorn = false;
      this.#number = last.number;
    }
  }

  /** The log was replaced by another: the file is compared with it again. */
  compareAgain(): void {
    this.#number = undefined;
  }

  /**
   * Returns the number after which to continue. Reports a log that does not continue the file. If the log is behind the
   * file, appending continues after the log's newest checkpoint; if they differ, from the checkpoint that differs.
   */
  async #compare(): Promise<number> {
    const kept = await this.#newest();
    if (kept === undefined) return 0;
    const same = await checkpointOfNumber(this.#sql, kept.number);
    if (same !== undefined && readCheckpoint(same.note).hash.equals(kept.hash)) return kept.number;
    const latest = await latestCheckpoint(this.#sql);
    const detail = {
      file: this.#path,
      kept: { number: kept.number, size: kept.size, sealedAt: kept.sealedAt },
      found: { number: latest?.number ?? 0, size: latest?.size ?? 0 },
    };
    const finding = `${kept.number} ${latest?.number} ${latest?.note}`;
    if (finding !== this.#told) {
      this.#told = finding;
      this.#log.error(
        detail,
        'the audit log does not continue the checkpoints in this file: it was cut off or rolled back; verify it with npm run audit -- verify',
      );
    }
    await recordAudit(this.#sql, {
      actor: { kind: 'system', name: 'audit' },
      action: 'audit.checkpoint_refused',
      detail: { reason: same === undefined ? 'lower' : 'forked', ...detail },
    });
    return same === undefined ? (latest?.number ?? 0) : kept.number - 1;
  }

  async #newest(): Promise<SignedCheckpoint | undefined> {
    const file = await open(this.#path, 'a+', 0o640);
    try {
      const { size } = await file.stat();
      const bytes = Buffer.alloc(Math.min(size, tailBytes));
      await file.read(bytes, 0, bytes.length, size - bytes.length);
      this.#isTorn = size > 0 && bytes.at(-1) !== 0x0a;
      for (const note of splitNotes(bytes.toString()).reverse()) {
        try {
          return readCheckpoint(note);
        } catch (error) {
          // The last note may be half written, and the first of the tail may be cut.
          if (!(error instanceof CheckpointError)) throw error;
        }
      }
      return undefined;
    } finally {
      await file.close();
    }
  }
}
