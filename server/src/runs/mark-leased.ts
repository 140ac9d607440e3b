// Tells of leases that a claim has made. The claim locks steps only; what follows for target runs and runs is written
// here, in the common lock order, and only for leases that are still live.
import type { ClaimedStep } from '../store/claims.ts';
import type { Sql } from '../store/connection.ts';
import { liveLeases, lockTargetRuns } from '../store/run-progress.ts';
import { inTransaction } from '../store/transaction.ts';
import { type ProgressNews, RunLedger } from './run-ledger.ts';

/** Moves runs and target runs of these leases to running and writes the event. */
export async function markLeased(sql: Sql, claimed: readonly ClaimedStep[]): Promise<ProgressNews> {
  return inTransaction(sql, async (tx) => {
    const stepIds = claimed.map((step) => step.id);
    const [ledger, targets, leases] = await Promise.all([
      RunLedger.open(tx, { stepIds }),
      lockTargetRuns(tx, stepIds),
      liveLeases(tx, claimed),
    ]);
    const byId = new Map(targets.map((target) => [target.id, target]));
    for (const live of leases) {
      const target = byId.get(live.targetRunId);
      if (target === undefined || ledger.run(live.jobRunId) === undefined) continue;
      ledger.markStarted(live.jobRunId);
      if (target.status === 'queued') ledger.changeTargetRun(target, 'running');
      ledger.noteStep(live.jobRunId, {
        id: live.id,
        status: 'running',
        attempt: live.epoch,
        agentName: live.agentName,
        leasedAt: live.leasedAt.toISOString(),
        outputState: 'open',
      });
    }
    return ledger.write();
  });
}
