// Lists the files that an attempt of a step has moved.
import type { StepTransfers } from '@opsconductor/protocol';
import type { Authority } from '../../auth/authority.ts';
import { notFound } from '../../errors.ts';
import type { Sql } from '../../store/database/connection.ts';
import { findStepOutput } from '../../store/runs/runs.ts';
import {
  findTransferTotals,
  listTransferRows,
  type TransferRecord,
} from '../../store/runs/transfers/transfers.ts';
import type { RunKeys } from '../run-keys.ts';
import { openNames } from './transfer-taker.ts';

/** @throws {AppError} `not_found` if the step belongs to another run or may not be seen. */
export async function listTransfers(
  { sql, keys }: { sql: Sql; keys: RunKeys },
  ref: { runId: number; stepId: number; epoch: number | undefined },
  authority: Authority,
): Promise<StepTransfers> {
  const [step] = await findStepOutput(sql, ref.runId, [ref.stepId], authority.reach('read'));
  if (step === undefined) throw notFound(`Step ${ref.stepId} of run ${ref.runId}`);
  const attempt = { stepId: ref.stepId, epoch: ref.epoch ?? step.epoch };
  const [totals, rows] = await Promise.all([
    findTransferTotals(sql, attempt),
    listTransferRows(sql, attempt),
  ]);
  const dataKey = rows.length === 0 ? undefined : await keys.keyOf(sql, ref.runId);
  return {
    attempt: attempt.epoch,
    totals: totals ?? null,
    items: dataKey === undefined ? [] : rows.map((row) => view(dataKey, attempt, row)),
  };
}

function view(
  dataKey: Buffer,
  attempt: { stepId: number; epoch: number },
  row: TransferRecord,
): StepTransfers['items'][number] {
  const { localPath, remotePath, error } = openNames(dataKey, attempt, row.number, row.names);
  return {
    operation: row.operation,
    localPath: localPath ?? null,
    remotePath: remotePath ?? null,
    fileSize: row.fileSize,
    bytesTransferred: row.bytesTransferred,
    bytesPerSecond: row.bytesPerSecond,
    status: row.status,
    startedAt: row.startedAt?.toISOString() ?? null,
    completedAt: row.completedAt?.toISOString() ?? null,
    errorMessage: error ?? null,
  };
}
