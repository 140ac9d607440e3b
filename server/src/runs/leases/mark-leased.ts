// Records leases that a claim has made, and steps that have begun. A claim locks only steps; the effects on target runs
// and runs are written here, in the common lock order, and only for leases that are still live.
import { markStarted, type StartedStep } from '../../store/agents/agent-sessions.ts';
import type { Sql } from '../../store/database/connection.ts';
import { inTransaction } from '../../store/database/transaction.ts';
import { forgetDetached, noteDetached } from '../../store/queue/attempts/detached-attempts.ts';
import { liveLeases, lockTargetRuns } from '../../store/runs/progress/progress-rows.ts';
import type { StepChange } from '../progress/run-changes.ts';
import { type ProgressNews, RunLedger } from '../progress/run-ledger.ts';

/**
 * Moves the runs and target runs of these leases to running, records which steps have begun, and writes one event for
 * both.
 */
export async function markLeased(
  sql: Sql,
  leases: readonly { id: number; epoch: number }[],
  started: readonly StartedStep[] = [],
): Promise<ProgressNews> {
  return inTransaction(sql, async (tx) => {
    const stepIds = [...new Set([...leases.map(({ id }) => id), ...started.map(({ step }) => step)])];
    const [ledger, targets, live, begun] = await Promise.all([
      RunLedger.open(tx, { stepIds }),
      lockTargetRuns(tx, stepIds),
      liveLeases(tx, leases),
      markStarted(tx, started),
    ]);
    const byId = new Map(targets.map((target) => [target.id, target]));
    const changes = new Map<number, StepChange & { jobRunId: number }>();
    for (const lease of live) {
      const target = byId.get(lease.targetRunId);
      if (target === undefined || ledger.run(lease.jobRunId) === undefined) continue;
      ledger.markStarted(target, lease.leasedAt);
      if (target.status === 'queued') ledger.changeTargetRun(target, 'running');
      changes.set(lease.id, {
        jobRunId: lease.jobRunId,
        id: lease.id,
        status: 'running',
        attempt: lease.epoch,
        attempts: lease.epoch - lease.unbegun,
        agentName: lease.agentName,
        leasedAt: lease.leasedAt.toISOString(),
        outputState: 'open',
      });
    }
    const begunSteps = new Set(begun.map(({ id }) => id));
    const going = (survives: boolean) =>
      started
        .filter((start) => start.survives === survives && (!survives || begunSteps.has(start.step)))
        .map(({ step, ...held }) => ({ stepId: step, ...held }));
    await noteDetached(tx, going(true));
    await forgetDetached(tx, going(false));
    for (const { id, jobRunId, startedAt } of begun) {
      changes.set(id, { jobRunId, id, ...changes.get(id), startedAt: startedAt.toISOString() });
    }
    for (const { jobRunId, ...change } of changes.values()) ledger.noteStep(jobRunId, change);
    return ledger.writeAndCommit();
  });
}
