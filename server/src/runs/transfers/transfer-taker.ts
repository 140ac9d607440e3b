// Prepares for storage what an agent says that a step has moved. This is hostile input: names are sealed unchanged, and
// times are taken only if they are valid.
import type { TransferReport, TransferRow } from '@opsconductor/protocol';
import { aadOf, openAtRest, sealAtRest } from '../../credentials/at-rest/seal-at-rest.ts';
import type { Log } from '../../log.ts';
import type { Sql } from '../../store/database/connection.ts';
import { findStepPlace } from '../../store/runs/run-values.ts';
import type { NewTransferRow, NewTransfers } from '../../store/runs/transfers/transfers.ts';
import type { RunKeys } from '../run-keys.ts';
import { whyUnreadableHere } from '../why-unreadable.ts';

interface AttemptRef {
  stepId: number;
  epoch: number;
}

/** The sealed part of a row. */
export type TransferNames = Pick<TransferRow, 'localPath' | 'remotePath' | 'error'>;

export class TransferTaker {
  readonly #deps: { sql: Sql; keys: RunKeys; log?: Log };

  constructor(deps: { sql: Sql; keys: RunKeys; log?: Log }) {
    this.#deps = deps;
  }

  /**
   * Returns `undefined` if there is no such step. If the run's key can't be read, rows are left out, since the files
   * were moved all the same.
   */
  async take(
    attempt: AttemptRef,
    { totals, rows }: TransferReport,
  ): Promise<Omit<NewTransfers, 'stepId' | 'epoch'> | undefined> {
    const place = await findStepPlace(this.#deps.sql, attempt.stepId);
    if (place === undefined) return undefined;
    let dataKey: Buffer;
    try {
      dataKey = await this.#deps.keys.keyOf(this.#deps.sql, place.runId);
    } catch (error) {
      const why = whyUnreadableHere('The data key of its run', error);
      this.#deps.log?.error(
        { run: place.runId, step: attempt.stepId },
        `the list of files that this step transferred is not kept: ${why}`,
      );
      return { totals, rows: [] };
    }
    return { totals, rows: rows.map((row, at) => rowOf(dataKey, attempt, row, at + 1)) };
  }
}

function rowOf(dataKey: Buffer, attempt: AttemptRef, row: TransferRow, number: number): NewTransferRow {
  const { localPath, remotePath, error, operation, status, fileSize, bytesTransferred } = row;
  const [startedAt, completedAt] = [timeOf(row.startedAt), timeOf(row.completedAt)];
  const names: TransferNames = {
    ...(localPath === undefined ? {} : { localPath }),
    ...(remotePath === undefined ? {} : { remotePath }),
    ...(error === undefined ? {} : { error }),
  };
  const tookMs =
    startedAt === null || completedAt === null ? 0 : Date.parse(completedAt) - Date.parse(startedAt);
  return {
    number,
    operation,
    names: sealAtRest(dataKey, Buffer.from(JSON.stringify(names)), namesAad(attempt, number)).toString(
      'base64',
    ),
    fileSize: fileSize ?? null,
    bytesTransferred,
    bytesPerSecond:
      tookMs > 0 ? Math.min(Number.MAX_SAFE_INTEGER, Math.round((bytesTransferred * 1_000) / tookMs)) : null,
    status,
    startedAt,
    completedAt,
  };
}

export function openNames(
  dataKey: Buffer,
  attempt: AttemptRef,
  number: number,
  sealed: Buffer,
): TransferNames {
  return JSON.parse(openAtRest(dataKey, sealed, namesAad(attempt, number)).toString('utf8'));
}

function timeOf(text: string | undefined): string | null {
  const ms = text === undefined ? Number.NaN : Date.parse(text);
  return Number.isNaN(ms) ? null : new Date(ms).toISOString();
}

function namesAad({ stepId, epoch }: AttemptRef, number: number): Uint8Array {
  return aadOf('file-transfer', stepId, epoch, number);
}
