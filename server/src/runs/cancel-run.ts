// Cancelling a run. What waits is cancelled here and now; what runs is asked to stop, and needs no agent to be alive:
// the sweep ends it as unknown when nobody confirms.
import { isRunEnded } from '@opsconductor/protocol';
import { recordAudit } from '../audit/record-audit.ts';
import { MissingPermission } from '../auth/missing-permission.ts';
import { auditedBy, type Caller } from '../caller.ts';
import { AppError, notFound } from '../errors.ts';
import type { Sql, Tx } from '../store/connection.ts';
import {
  closeWaitingSteps,
  lockOpenTargetRuns,
  lockWaitingSteps,
  runningStepsOf,
} from '../store/run-progress.ts';
import { isRunWithin, markCancelRequested, type RunRecord } from '../store/runs.ts';
import { inTransaction } from '../store/transaction.ts';
import { type ProgressNews, RunLedger } from './run-ledger.ts';
import { seeRun } from './seen-run.ts';

/**
 * Cancels an open run; asking again is no error while it is cancelling.
 *
 * @throws {AppError} `not_found`; `conflict` for a run that has ended; `forbidden` for who has `run` neither on its job
 * nor on all of its targets.
 */
export async function cancelRun(sql: Sql, runId: number, caller: Caller): Promise<ProgressNews> {
  return inTransaction(sql, async (tx) => {
    const { run: seen } = await seeRun(tx, runId, caller.authority);
    await requireRun(tx, seen, caller);
    const ledger = await RunLedger.open(tx, { runIds: [runId] });
    const run = ledger.run(runId);
    if (run === undefined) throw notFound(`Run ${runId}`);
    if (isRunEnded(run.status)) {
      throw new AppError(
        'conflict',
        `Run ${runId} has already ended: it is ${run.status.replace('_', ' ')}.`,
      );
    }
    if (run.status !== 'cancelling') {
      await markCancelRequested(tx, runId, caller.userId);
      ledger.requestCancel(runId);
      await stopWaiting(tx, ledger, runId, 'cancelled');
      await recordAudit(tx, {
        ...auditedBy(caller),
        action: 'run.cancel_requested',
        object: { kind: 'run', id: runId },
        scope: { categoryId: seen.categoryId },
      });
    }
    return ledger.write();
  });
}

async function requireRun(tx: Tx, run: RunRecord, caller: Caller): Promise<void> {
  if (caller.authority.holdsOnCategory('run', run.categoryId)) return;
  if (await isRunWithin(tx, run.id, caller.authority.reach('run'))) return;
  throw new MissingPermission(caller, 'run', `category “${run.category}” or on all targets of the run`);
}

/** Ends every step and target run of a run that has no step running, with the status; others get to finish. */
export async function stopWaiting(
  tx: Tx,
  ledger: RunLedger,
  runId: number,
  status: 'cancelled' | 'timed_out',
): Promise<void> {
  const targets = await lockOpenTargetRuns(tx, runId);
  const waiting = await lockWaitingSteps(tx, runId);
  const busy = new Set((await runningStepsOf(tx, runId)).map((step) => step.targetRunId));
  const idle = targets.filter((target) => !busy.has(target.id));
  await closeWaitingSteps(
    tx,
    idle.map((target) => target.id),
    status,
  );
  const idleIds = new Set(idle.map((target) => target.id));
  for (const step of waiting.filter((row) => idleIds.has(row.targetRunId))) {
    ledger.countStepEnds(runId, { completed: 1, failed: 0 });
    ledger.noteStep(runId, { id: step.id, status });
  }
  for (const target of targets) {
    ledger.changeTargetRun(target, idleIds.has(target.id) ? status : 'cancelling');
  }
}
