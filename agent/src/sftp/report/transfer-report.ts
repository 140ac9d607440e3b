// The result of a transfer: totals of everything, and a row per file up to a limit. Failures come first.

import { limits, type TransferRow, type TransferTotals } from '@opsconductor/protocol';
import { cutText } from '../../cut-text.ts';
import { SshError } from '../../ssh/ssh-error.ts';
import type { TransferPlan } from '../transfer-plan.ts';
import { toldPath } from '../tree/shown-path.ts';
import { fileError, TransferError, type TransferReason } from '../tree/transfer-error.ts';

/** Half of the rows are reserved for failures, however many files succeed before. */
const maxRowsOfOthers = limits.maxTransferRows / 2;

/** Limit on the rows as JSON: they share one message with the rest of the attempt's end. */
const maxRowsBytes = 1024 * 1024;

/** A row without a status stands for success. */
export type NewRow = Omit<TransferRow, 'status'> & { status?: TransferRow['status'] };

/** Returns a row for something that has not been done yet. */
export function rowOf(
  { direction }: Pick<TransferPlan, 'direction'>,
  { source, destination, fileSize }: { source: string; destination: string; fileSize: number | undefined },
): NewRow {
  const isPush = direction === 'push';
  const [localPath, remotePath] = isPush ? [source, destination] : [destination, source];
  return {
    operation: isPush ? 'upload' : 'download',
    localPath: cutText(toldPath(localPath), 1_000),
    remotePath: cutText(toldPath(remotePath), 1_000),
    bytesTransferred: 0,
    ...(fileSize === undefined ? {} : { fileSize }),
  };
}

export interface Failure {
  path: string;
  error: TransferError;
}

function cutBy({ message, advice }: SshError): TransferError {
  return new TransferError({ reason: 'transfer_cut', message, advice });
}

export class TransferReport {
  readonly totals: TransferTotals = {
    created: 0,
    changed: 0,
    unchanged: 0,
    deleted: 0,
    failed: 0,
    directories: 0,
    links: 0,
    bytes: 0,
  };
  readonly #failed: TransferRow[] = [];
  #others: TransferRow[] = [];
  readonly #reasons = new Map<TransferReason, number>();
  #first: Failure | undefined;
  readonly #told = new WeakSet<TransferError>();
  readonly #onFailure: (failure: Failure) => void;

  constructor(onFailure: (failure: Failure) => void = () => undefined) {
    this.#onFailure = onFailure;
  }

  get rows(): TransferRow[] {
    const all = [...this.#failed, ...this.#others].slice(0, limits.maxTransferRows);
    let bytes = 0;
    const tooLong = all.findIndex((row) => {
      bytes += Buffer.byteLength(JSON.stringify(row));
      return bytes > maxRowsBytes;
    });
    return tooLong === -1 ? all : all.slice(0, tooLong);
  }

  /** The first failure. */
  get firstFailure(): Failure | undefined {
    return this.#first;
  }

  /** The reason that all failures share, or `transfer_failed` if their reasons differ. */
  get commonReason(): TransferReason {
    const [[reason] = ['transfer_failed' as const], second] = [...this.#reasons];
    return second === undefined ? reason : 'transfer_failed';
  }

  count(what: keyof TransferTotals, by = 1): void {
    this.totals[what] += by;
  }

  /** @param row makes the row of something that succeeded; only called if there is room for it */
  done(row: () => NewRow): void {
    if (this.#others.length < maxRowsOfOthers) this.#others.push({ status: 'completed', ...row() });
  }

  /** Forgets what has succeeded, because it is removed again. */
  takeBack(): void {
    Object.assign(this.totals, { created: 0, changed: 0, directories: 0, links: 0, bytes: 0 });
    this.#others = [];
  }

  /** Reports an error that ends the whole transfer, unless it is known. Leaves errors alone that are from neither side. */
  end(path: string, error: unknown, row: NewRow): void {
    if (error instanceof SshError) this.fail(path, cutBy(error), row);
    else if (error instanceof TransferError && !this.#told.has(error)) this.fail(path, error, row);
  }

  /** The same for what is not an error of one file: the row has the ends of the whole transfer. */
  endAll(plan: Pick<TransferPlan, 'direction' | 'localPath' | 'remotePath'>, error: unknown): void {
    const { direction, localPath, remotePath } = plan;
    const [source, destination] = direction === 'push' ? [localPath, remotePath] : [remotePath, localPath];
    this.end(source, error, rowOf(plan, { source, destination, fileSize: undefined }));
  }

  fail(path: string, error: unknown, row: NewRow): void {
    const known = error instanceof TransferError ? error : fileError(error, '', path, 'transferred');
    this.totals.failed += 1;
    this.#reasons.set(known.reason, (this.#reasons.get(known.reason) ?? 0) + 1);
    this.#first ??= { path, error: known };
    this.#told.add(known);
    if (this.#failed.length < limits.maxTransferRows)
      this.#failed.push({ ...row, status: 'failed', error: cutText(known.message, 1_000) });
    this.#onFailure({ path, error: known });
  }
}
