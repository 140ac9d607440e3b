// Files that steps have moved.
import type { TransferRow, TransferTotals } from '@opsconductor/protocol';
import type { Queryable, Tx } from '../../database/connection.ts';

export interface NewTransfers {
  stepId: number;
  epoch: number;
  totals: TransferTotals;
  rows: NewTransferRow[];
}

export interface NewTransferRow {
  number: number;
  operation: TransferRow['operation'];
  /** Base64, encrypted with the run's data key. */
  names: string;
  fileSize: number | null;
  bytesTransferred: number;
  bytesPerSecond: number | null;
  status: TransferRow['status'];
  startedAt: string | null;
  completedAt: string | null;
}

/** Writes each attempt's transfers once; what it has already reported is not overwritten. */
export async function writeTransfers(tx: Tx, transfers: readonly NewTransfers[]): Promise<void> {
  if (transfers.length === 0) return;
  const rows = transfers.flatMap(({ stepId, epoch, rows }) => rows.map((row) => ({ stepId, epoch, ...row })));
  const totals = transfers.map(({ stepId, epoch, totals }) => ({ stepId, epoch, totals }));
  await tx`
    insert into job_run_step_transfers (job_run_step_id, epoch, totals)
    select c."stepId", c.epoch, c.totals
    from jsonb_to_recordset(${tx.json(totals as never)}::jsonb) as c("stepId" bigint, epoch integer, totals jsonb)
    on conflict do nothing`;
  if (rows.length === 0) return;
  await tx`
    insert into sftp_file_transfers (job_run_step_id, epoch, number, operation_type, names, file_size,
      bytes_transferred, transfer_rate_bps, status, started_at, completed_at)
    select c."stepId", c.epoch, c.number, c.operation, decode(c.names, 'base64'), c."fileSize",
      c."bytesTransferred", c."bytesPerSecond", c.status, c."startedAt", c."completedAt"
    from jsonb_to_recordset(${tx.json(rows as never)}::jsonb) as c(
      "stepId" bigint, epoch integer, number integer, operation text, names text, "fileSize" bigint,
      "bytesTransferred" bigint, "bytesPerSecond" bigint, status text, "startedAt" timestamptz, "completedAt" timestamptz)
    on conflict do nothing`;
}

export interface TransferRecord {
  number: number;
  operation: TransferRow['operation'];
  names: Buffer;
  fileSize: number | null;
  bytesTransferred: number;
  bytesPerSecond: number | null;
  status: TransferRow['status'];
  startedAt: Date | null;
  completedAt: Date | null;
}

/** Returns the totals of all files of an attempt; `undefined` if it reported none. */
export async function findTransferTotals(
  db: Queryable,
  { stepId, epoch }: { stepId: number; epoch: number },
): Promise<TransferTotals | undefined> {
  const [row] = await db<{ totals: TransferTotals }[]>`
    select totals from job_run_step_transfers where job_run_step_id = ${stepId} and epoch = ${epoch}`;
  return row?.totals;
}

/** Returns the files of an attempt that have a row of their own, in order; `names` are encrypted. */
export async function listTransferRows(
  db: Queryable,
  { stepId, epoch }: { stepId: number; epoch: number },
): Promise<TransferRecord[]> {
  return db<TransferRecord[]>`
    select number, operation_type as operation, names, file_size, bytes_transferred,
      transfer_rate_bps as bytes_per_second, status, started_at, completed_at
    from sftp_file_transfers where job_run_step_id = ${stepId} and epoch = ${epoch} order by number`;
}
