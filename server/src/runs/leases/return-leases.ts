// Leases that never began go back to ready: a draining agent hands them back, or they are missing from an intact
// journal.
import type { Sql, Tx } from '../../store/database/connection.ts';
import { inTransaction } from '../../store/database/transaction.ts';
import { begunTargetRuns } from '../../store/queue/step-attempts.ts';
import { lockStepsAndNext, lockTargetRuns, type StepRow } from '../../store/runs/progress-rows.ts';
import { returnToReady } from '../../store/runs/progress-writes.ts';
import { stopWaiting } from '../ends/stop-run.ts';
import { type ProgressNews, RunLedger, stoppedStatus } from '../progress/run-ledger.ts';
import { type AttemptEnd, settleAttempts } from '../progress/settle-attempts.ts';

export interface UnbegunLease {
  stepId: number;
  epoch: number;
  leaseToken: string;
  agentId: number;
}

export interface ReturnedLeases {
  news: ProgressNews;
  /**
   * Leases that their agent had begun, whatever it says now, so they must not run again. The caller settles them once
   * the transaction has committed.
   */
  begun: AttemptEnd[];
}

/**
 * Sets the steps of those leases that are live to ready again, and settles as unknown those that had begun.
 *
 * @param options.inS time during which the steps aren't leased again, in seconds.
 */
export async function returnLeases(
  sql: Sql,
  leases: readonly UnbegunLease[],
  { inS = 0 }: { inS?: number } = {},
): Promise<ProgressNews[]> {
  const { news, begun } = await inTransaction(sql, (tx) => returnLeasesIn(tx, leases, inS));
  if (begun.length === 0) return [news];
  return [news, (await settleAttempts(sql, begun)).news];
}

/** Sets the steps of those leases that are live to ready again. In a cancelling run they end cancelled instead. */
export async function returnLeasesIn(
  tx: Tx,
  leases: readonly UnbegunLease[],
  inS = 0,
): Promise<ReturnedLeases> {
  const stepIds = leases.map((lease) => lease.stepId);
  const [ledger, , rows] = await Promise.all([
    RunLedger.open(tx, { stepIds }),
    lockTargetRuns(tx, stepIds),
    lockStepsAndNext(tx, stepIds),
  ]);
  const steps = new Map(rows.map((step) => [step.id, step]));
  const held = leases.flatMap((lease) => {
    const step = steps.get(lease.stepId);
    const isLive =
      step?.status === 'running' &&
      step.epoch === lease.epoch &&
      step.leaseToken === lease.leaseToken &&
      step.agentId === lease.agentId;
    return isLive ? [step] : [];
  });
  const live = held.filter(({ startedAt, outputSeq }) => startedAt === null && outputSeq === 0);
  await returnToReady(
    tx,
    live.map((step) => step.id),
    inS,
  );
  const cancelling = new Set<number>();
  for (const step of live) {
    ledger.noteStep(step.jobRunId, { id: step.id, status: 'ready' });
    ledger.wakeSegment(step.segmentId);
    if (ledger.run(step.jobRunId)?.status === 'cancelling') cancelling.add(step.jobRunId);
  }
  for (const runId of cancelling) {
    const run = ledger.run(runId);
    if (run !== undefined) await stopWaiting(tx, ledger, runId, stoppedStatus(run));
  }
  await endInHalted(tx, ledger, live);
  return { news: await ledger.write(), begun: held.filter((step) => !live.includes(step)).map(begunEnd) };
}

/**
 * Not the run's own reason, which contains numbers of hosts: readers who see only part of the run see this message,
 * too.
 */
const haltedMessage = 'Not begun: more hosts failed or became unknown than the run allows.';

/**
 * In a halted run nothing begins any more. That includes steps that were leased when it was halted and come back now.
 */
async function endInHalted(tx: Tx, ledger: RunLedger, returned: readonly StepRow[]): Promise<void> {
  for (const runId of new Set(returned.map(({ jobRunId }) => jobRunId))) {
    const { haltedAt = null, status } = ledger.run(runId) ?? {};
    if (haltedAt === null || status === 'cancelling') continue;
    const begun = await begunTargetRuns(tx, runId);
    const unbegun = returned
      .filter((step) => step.jobRunId === runId && !begun.has(step.targetRunId))
      .map(({ targetRunId }) => targetRunId);
    if (unbegun.length > 0)
      await ledger.endUnbegun(
        runId,
        { status: 'cancelled', reason: 'halted', message: haltedMessage },
        { running: unbegun },
      );
  }
}

function begunEnd(step: StepRow): AttemptEnd {
  return {
    stepId: step.id,
    epoch: step.epoch,
    leaseToken: step.leaseToken ?? '',
    source: {
      kind: 'server',
      heldBy: { agentId: step.agentId ?? 0, sessionNumber: step.sessionNumber ?? 0 },
    },
    outcome: {
      status: 'unknown',
      reason: 'agent_restarted',
      message:
        'The agent had begun the step and no longer knows of it: what happened on the target is not known.',
      advice: 'Look on the target before you run it again.',
    },
    output: { state: 'gapped', digest: null, gaps: [] },
  };
}
