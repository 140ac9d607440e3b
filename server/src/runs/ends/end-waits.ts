// Ends waits that took too long: of runs that never began, and of steps in begun runs that no agent takes or whose lock
// isn't released.
import { isRunEnded } from '@opsconductor/protocol';
import type { Sql } from '../../store/database/connection.ts';
import { inTransaction } from '../../store/database/transaction.ts';
import { begunTargetRuns } from '../../store/queue/attempts/step-attempts.ts';
import { isUnstarted, waitedFor } from '../../store/queue/sweep/sweep.ts';
import { type LongWait, longWaits } from '../../store/queue/waiting/wait-bounds.ts';
import {
  lockOpenTargetRuns,
  lockStepsAndNext,
  lockWaitingSteps,
} from '../../store/runs/progress/progress-rows.ts';
import { type ProgressNews, RunLedger } from '../progress/run-ledger.ts';
import { StepProgress } from '../progress/step-progress.ts';

/** Ends a run that could not start within its `start_within`. */
export async function endUnstarted(sql: Sql, runId: number): Promise<ProgressNews> {
  return inTransaction(sql, async (tx) => {
    const ledger = await RunLedger.open(tx, { runIds: [runId] });
    const run = ledger.run(runId);
    if (run === undefined || isRunEnded(run.status)) return ledger.write();
    const targetRuns = await lockOpenTargetRuns(tx, runId);
    await lockWaitingSteps(tx, runId);
    // A step may have been leased since the run was found.
    if (!(await isUnstarted(tx, runId))) return ledger.write();
    const waited = await waitedFor(tx, runId);
    const lacked = waited.map(({ kind, name }) =>
      kind === 'lock' ? `lock “${name}” was not free` : `no agent with a free slot in “${name}”`,
    );
    ledger.setError(runId, `Not started in time: ${lacked.join(', ') || 'no agent with a free slot'}.`);
    const [only] = waited;
    const message =
      only === undefined || waited.length > 1
        ? 'Nothing of the run began in time (start_within).'
        : messageOf({
            segmentName: only.kind === 'slot' ? only.name : '',
            lockName: only.kind === 'lock' ? only.name : null,
          });
    const end = { status: 'timed_out', reason: 'start_within_expired', message } as const;
    await ledger.endUnbegun(runId, end, { running: targetRuns.map(({ id }) => id) });
    return ledger.write();
  });
}

/**
 * Ends the steps of a begun run that have waited too long. On a target where nothing had begun, all steps end; on
 * others, clean-up steps still get their own time to wait.
 */
export async function endLongWaits(sql: Sql, runId: number): Promise<ProgressNews> {
  return inTransaction(sql, async (tx) => {
    const ledger = await RunLedger.open(tx, { runIds: [runId] });
    const run = ledger.run(runId);
    if (run === undefined || isRunEnded(run.status)) return ledger.write();
    const targetRuns = await lockOpenTargetRuns(tx, runId);
    await lockWaitingSteps(tx, runId);
    const waits = await longWaits(tx, runId);
    const begun = await begunTargetRuns(tx, runId);
    const stepIds = waits.filter((wait) => begun.has(wait.targetRunId)).map(({ stepId }) => stepId);
    const steps = await lockStepsAndNext(tx, stepIds);
    const progress = new StepProgress({ tx, ledger, targetRuns, steps });
    await progress.prepare(stepIds);
    const waitOf = new Map(waits.map((wait) => [wait.stepId, wait]));
    for (const id of stepIds) {
      const step = progress.step(id);
      const wait = waitOf.get(id);
      if (step === undefined || wait === undefined) continue;
      const advice = step.isCleanUp ? 'Look on the target: it was not cleaned up.' : adviceOf(wait);
      progress.waitEnds(step, { reason: 'start_within_expired', message: messageOf(wait), advice });
    }
    await endUnbegun(
      ledger,
      runId,
      waits.filter((wait) => !begun.has(wait.targetRunId)),
    );
    await progress.writes.closeSuccessors();
    await Promise.all(progress.writes.send());
    return ledger.write();
  });
}

async function endUnbegun(ledger: RunLedger, runId: number, waits: readonly LongWait[]): Promise<void> {
  const byMessage = new Map<string, number[]>();
  for (const wait of waits) {
    const message = messageOf(wait);
    byMessage.set(message, [...(byMessage.get(message) ?? []), wait.targetRunId]);
  }
  for (const [message, ids] of byMessage) {
    ledger.setError(
      runId,
      `Not begun on ${ids.length === 1 ? 'one host' : `${ids.length} hosts`}: ${message}`,
    );
    const end = { status: 'timed_out', reason: 'start_within_expired', message } as const;
    await ledger.endUnbegun(runId, end, { running: ids, only: ids });
  }
}

function messageOf({ segmentName, lockName }: Pick<LongWait, 'segmentName' | 'lockName'>): string {
  return lockName === null
    ? `No agent in segment “${segmentName}” took the step in time (start_within).`
    : `Lock “${lockName}” was not free in time (start_within).`;
}

function adviceOf({ lockName }: LongWait): string {
  return lockName === null
    ? 'Check the segment’s agents, then run it again from this step.'
    : 'Find out which run holds the lock, then run it again.';
}
