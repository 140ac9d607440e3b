// Leases that were never begun go back to ready: handed back by a draining agent, or absent from its intact journal.
import type { Sql, Tx } from '../store/connection.ts';
import { lockStepsAndNext, lockTargetRuns, returnToReady } from '../store/run-progress.ts';
import { inTransaction } from '../store/transaction.ts';
import { stopWaiting } from './cancel-run.ts';
import { type ProgressNews, RunLedger } from './run-ledger.ts';

export interface UnbegunLease {
  stepId: number;
  epoch: number;
  leaseToken: string;
  agentId: number;
}

/** Returns live leases among these to ready; in a cancelling run they end cancelled. */
export async function returnLeases(sql: Sql, leases: readonly UnbegunLease[]): Promise<ProgressNews> {
  return inTransaction(sql, (tx) => returnLeasesIn(tx, leases));
}

export async function returnLeasesIn(tx: Tx, leases: readonly UnbegunLease[]): Promise<ProgressNews> {
  const stepIds = leases.map((lease) => lease.stepId);
  const [ledger, , rows] = await Promise.all([
    RunLedger.open(tx, { stepIds }),
    lockTargetRuns(tx, stepIds),
    lockStepsAndNext(tx, stepIds),
  ]);
  const steps = new Map(rows.map((step) => [step.id, step]));
  const live = leases.flatMap((lease) => {
    const step = steps.get(lease.stepId);
    const isLive =
      step?.status === 'running' &&
      step.epoch === lease.epoch &&
      step.leaseToken === lease.leaseToken &&
      step.agentId === lease.agentId;
    return isLive ? [step] : [];
  });
  await returnToReady(
    tx,
    live.map((step) => step.id),
  );
  const cancelling = new Set<number>();
  for (const step of live) {
    ledger.noteStep(step.jobRunId, { id: step.id, status: 'ready' });
    ledger.wakeSegment(step.segmentId);
    if (ledger.run(step.jobRunId)?.status === 'cancelling') cancelling.add(step.jobRunId);
  }
  for (const runId of cancelling) await stopWaiting(tx, ledger, runId, 'cancelled');
  return ledger.write();
}
