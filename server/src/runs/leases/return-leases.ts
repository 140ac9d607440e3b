// Leases that never began go back: a draining agent hands them back, or they are missing from an intact journal. With
// them go those that were leased to follow them.
import type { Sql, Tx } from '../../store/database/connection.ts';
import { inTransaction } from '../../store/database/transaction.ts';
import { begunTargetRuns } from '../../store/queue/attempts/step-attempts.ts';
import {
  hasBegun,
  lockStepsAndNext,
  lockTargetRuns,
  type StepRow,
} from '../../store/runs/progress/progress-rows.ts';
import { returnUnbegun } from '../../store/runs/progress/progress-writes.ts';
import { stopWaiting, stopWaitingOn } from '../ends/stop-run.ts';
import type { AttemptEnd } from '../progress/attempt-end.ts';
import { givenUpEnd, type HeldLease } from '../progress/given-up-end.ts';
import { type ProgressNews, RunLedger, stoppedStatus } from '../progress/run-ledger.ts';
import { settleAttempts } from '../progress/settle-attempts.ts';

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
 * Takes back those leases that are live, so that their steps wait again, and settles as unknown those that had begun.
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

/**
 * Takes back those leases that are live, so that their steps wait again. In a cancelling run or target run they end
 * cancelled.
 */
export async function returnLeasesIn(
  tx: Tx,
  leases: readonly UnbegunLease[],
  inS = 0,
): Promise<ReturnedLeases> {
  const stepIds = leases.map((lease) => lease.stepId);
  const [ledger, targetRuns, rows] = await Promise.all([
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
  // An agent that has begun what follows a step has begun that step, whatever it says.
  const begun = held.filter((step) => hasBegun(step) || laterOf([step], rows).some(hasBegun));
  const unbegun = held.filter((step) => !begun.includes(step));
  const live = [...new Set([...unbegun, ...laterOf(unbegun, rows)])];
  const returned = await returnUnbegun(
    tx,
    live.map((step) => step.id),
    inS,
  );
  const cancelling = new Set<number>();
  for (const step of live) {
    const status = returned.get(step.id) ?? 'ready';
    ledger.noteStep(step.jobRunId, {
      id: step.id,
      status,
      agentName: null,
      leasedAt: null,
      attempts: step.epoch - step.unbegun - 1,
      outputState: 'complete',
    });
    if (status === 'ready') ledger.wakeSegment(step.segmentId);
    if (ledger.run(step.jobRunId)?.status === 'cancelling') cancelling.add(step.jobRunId);
  }
  for (const runId of cancelling) {
    const run = ledger.run(runId);
    if (run !== undefined) await stopWaiting(tx, ledger, runId, stoppedStatus(run));
  }
  const back = new Set(live.map(({ targetRunId }) => targetRunId));
  for (const { id, jobRunId, cancelRequestedAt } of targetRuns) {
    if (cancelRequestedAt === null || !back.has(id) || cancelling.has(jobRunId)) continue;
    await stopWaitingOn(tx, ledger, jobRunId, [id]);
  }
  await endInHalted(tx, ledger, live);
  return { news: await ledger.write(), begun: begun.map(heldLease).map(begunEnd) };
}

/** Returns what was leased to the same agents to follow these steps. */
function laterOf(steps: readonly StepRow[], rows: readonly StepRow[]): StepRow[] {
  return rows.filter(
    (row) =>
      row.status === 'running' &&
      steps.some(
        (step) =>
          step.targetRunId === row.targetRunId &&
          step.stepNumber < row.stepNumber &&
          step.agentId === row.agentId,
      ),
  );
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

/** The end of a lease that comes back although its agent had begun the step. */
export function begunEnd(lease: HeldLease): AttemptEnd {
  return givenUpEnd(lease, {
    status: 'unknown',
    reason: 'agent_restarted',
    message:
      'The agent had begun the step and no longer knows of it: what happened on the target is not known.',
    advice: 'Look on the target before you run it again.',
  });
}

function heldLease({ id, epoch, leaseToken, agentId, sessionNumber }: StepRow): HeldLease {
  return {
    stepId: id,
    epoch,
    leaseToken: leaseToken ?? '',
    agentId: agentId ?? 0,
    sessionNumber: sessionNumber ?? 0,
  };
}
