// Checks every second whether the log is still the one that this server saw a second before, and whether the rows that
// are its newest sealed one, and were it a second before, exist. So a log that was emptied or truncated is reported even
// if nobody writes to it any more, or if it goes on at that moment.
import type { KeyPair } from '@opsconductor/protocol/sealing';
import type { Log } from '../../log.ts';
import {
  type CheckpointRow,
  checkpointOfNumber,
  latestCheckpoint,
  retentionNotes,
} from '../../store/audit/audit-seals.ts';
import { readPlaces } from '../../store/audit/audit-verification.ts';
import type { Sql } from '../../store/database/connection.ts';
import { type AuditEntry, recordAudit } from '../record-audit.ts';
import { readRetentionNote } from './retention.ts';

export interface LogWatchDeps {
  sql: Sql;
  installation: { installationId: string; serverKey: KeyPair };
  log: Log;
  /** Called if the log is a different one than at the last look. */
  onOtherLog?(): void;
}

/** Maximum number of findings that wait for the database, which may be kept from taking any. */
const maxUnwritten = 100;
const actor = { kind: 'system', name: 'audit' } as const;

export class LogWatch {
  readonly #deps: LogWatchDeps;
  /** The newest checkpoint at the last look. */
  #seen: CheckpointRow | undefined;
  /** Size of the log when its newest row was last looked at. */
  #lookedAt: number | undefined;
  /** Positions of rows that were found missing, of those that are looked at. */
  #missing: number[] = [];
  /**
   * Found, but not in the audit log yet. They are kept, because the next look may find a log that is in order again.
   */
  readonly #unwritten: AuditEntry[] = [];

  constructor(deps: LogWatchDeps) {
    this.#deps = deps;
  }

  /** Reports each difference once. */
  async look(): Promise<void> {
    const latest = await latestCheckpoint(this.#deps.sql);
    await this.#compareWithSeen(latest);
    if (latest !== undefined) await this.#lookAtNewestRows(latest.size);
    await this.#write();
  }

  async #compareWithSeen(latest: CheckpointRow | undefined): Promise<void> {
    const { sql, log } = this.#deps;
    const seen = this.#seen;
    const found =
      seen === undefined || seen.number === latest?.number
        ? latest
        : await checkpointOfNumber(sql, seen.number);
    this.#seen = latest;
    if (seen === undefined || seen.note === found?.note) return;
    this.#lookedAt = undefined;
    this.#deps.onOtherLog?.();
    const detail = { kept: describe(seen), found: describe(latest) };
    log.error(
      detail,
      'the audit log is not the one that this server saw before: it was emptied, cut off or rolled back; verify it with npm run audit -- verify',
    );
    this.#found({
      actor,
      action: 'audit.checkpoint_refused',
      detail: { reason: found === undefined ? 'lower' : 'forked', ...detail },
    });
  }

  /** Looks at the newest row, and again at the one that was the newest: it may have gone just before others came. */
  async #lookAtNewestRows(size: number): Promise<void> {
    const positions = [...new Set([this.#lookedAt ?? size, size])].map((size) => size - 1);
    for (const position of positions) await this.#lookAtRow(position);
    this.#lookedAt = size;
    this.#missing = this.#missing.filter((position) => positions.includes(position));
  }

  async #lookAtRow(position: number): Promise<void> {
    const { sql, log } = this.#deps;
    const [place] = await readPlaces(sql, position, position + 1, 1);
    if (place?.row !== undefined || this.#missing.includes(position) || (await this.#isRetained(position)))
      return;
    this.#missing.push(position);
    log.error(
      { position, auditRow: place?.auditId },
      'the newest sealed row of the audit log was removed, and others may have been; verify it with npm run audit -- verify',
    );
    this.#found({
      actor,
      action: 'audit.row_missing',
      ...(place === undefined ? {} : { object: { kind: 'audit_row', id: place.auditId } }),
      detail: { position },
    });
  }

  #found(entry: AuditEntry): void {
    if (this.#unwritten.length < maxUnwritten) this.#unwritten.push(entry);
  }

  async #write(): Promise<void> {
    for (let next = this.#unwritten[0]; next !== undefined; next = this.#unwritten[0]) {
      await recordAudit(this.#deps.sql, next);
      this.#unwritten.shift();
    }
  }

  /** Returns whether a signed note of retention says that it may be gone. */
  async #isRetained(position: number): Promise<boolean> {
    const { installationId, serverKey } = this.#deps.installation;
    const by = { installationId, publicKey: serverKey.publicKey };
    for (const { below, note } of (await retentionNotes(this.#deps.sql)).reverse())
      if (below > position && (await readRetentionNote(by, note)) === below) return true;
    return false;
  }
}

function describe(checkpoint: CheckpointRow | undefined): object {
  if (checkpoint === undefined) return { number: 0, size: 0 };
  const { number, size, sealedAt } = checkpoint;
  return { number, size, sealedAt };
}
