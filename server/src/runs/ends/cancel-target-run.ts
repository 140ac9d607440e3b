// Cancels one target run, and lets the rest of its run go on. What is true of a cancelled run is true of it: what waits
// is cancelled at once, what runs is told to stop, and no agent has to be alive. It doesn't count as a failure.
import { isRunEnded } from '@opsconductor/protocol';
import { recordAudit } from '../../audit/record-audit.ts';
import { auditedBy, type Caller } from '../../caller.ts';
import { AppError, notFound } from '../../errors.ts';
import type { Queryable, Sql } from '../../store/database/connection.ts';
import { inTransaction } from '../../store/database/transaction.ts';
import { hastenCleanUpsOfTargetRun } from '../../store/queue/attempts/clean-ups.ts';
import { countUntoldAttempts } from '../../store/queue/attempts/step-attempts.ts';
import { keepFromAgents, lockTargetRun, type RunRow } from '../../store/runs/progress/progress-rows.ts';
import {
  giveEndReason,
  listTargetRuns,
  markTargetRunCancelRequested,
  type TargetRunRecord,
} from '../../store/runs/runs.ts';
import { isBeingCancelled, type ProgressNews, RunLedger } from '../progress/run-ledger.ts';
import { seeRun } from '../view/seen-run.ts';
import { type CancelOptions, requireRun } from './cancel-run.ts';
import { forcedBy, stopOn, stopWaitingOn } from './stop-run.ts';

export interface TargetRunName {
  runId: number;
  targetRunId: number;
}

/**
 * Cancels an open target run. Repeating this is no error, and may force it while it is being cancelled, also with its
 * whole run. One that has ended keeps its outcome, but attempts on it that were given up and may still be running are
 * stopped as soon as an agent can.
 *
 * @throws {AppError} `not_found`, also if the caller may not see the target run; `conflict` if it had ended before
 * anyone cancelled it and nothing of it can still be running; `forbidden` if the caller has `run` neither on the run's
 * job nor on all of its targets.
 */
export async function cancelTargetRun(
  sql: Sql,
  name: TargetRunName,
  caller: Caller,
  { force = false }: CancelOptions = {},
): Promise<ProgressNews> {
  const { runId, targetRunId } = name;
  return inTransaction(sql, async (tx) => {
    const { run: seen } = await seeRun(tx, runId, caller.authority);
    await seeTargetRun(tx, name, caller);
    await requireRun(tx, seen, caller);
    const ledger = await RunLedger.open(tx, { runIds: [runId] });
    const run = ledger.run(runId);
    const target = await lockTargetRun(tx, runId, targetRunId);
    if (run === undefined || target === undefined) throw noSuchTargetRun(name);
    const isRepeated = isBeingCancelled(run, target);
    if (isRunEnded(target.status)) {
      if (isRepeated) return ledger.write();
      if ((await countUntoldAttempts(tx, runId, targetRunId)) === 0) {
        throw new AppError(
          'conflict',
          `“${target.targetName}” has already ended in run ${runId}: it is ${target.status.replace('_', ' ')}.`,
        );
      }
    } else if (isRepeated && !force) return ledger.write();
    const isForced = force && !isRunEnded(target.status);
    if (!isRepeated) {
      target.cancelRequestedAt = await markTargetRunCancelRequested(tx, targetRunId, caller.userId);
      ledger.requestTargetRunCancel(target, caller.name);
    } else ledger.repeatTargetRunCancel(target);
    await hastenCleanUpsOfTargetRun(tx, targetRunId);
    if (!target.isOpen && !isRunEnded(target.status)) await ledger.passOver(target);
    if (isForced) await stopOn(tx, ledger, runId, [targetRunId], forcedBy(caller.name));
    else if (!isRunEnded(target.status)) await stopWaitingOn(tx, ledger, runId, [targetRunId]);
    if (!isRepeated && !isRunEnded(target.status))
      await giveEndReason(tx, targetRunId, `Cancelled by ${caller.name} before it began.`);
    if (!isRepeated && !isForced && !isRunEnded(target.status))
      await keepFromAgents(tx, targetRunId, cleanUpsOf(run));
    await recordAudit(tx, {
      ...auditedBy(caller),
      action: isForced ? 'run.target_cancel_forced' : 'run.target_cancel_requested',
      object: { kind: 'run', id: runId },
      scope: { categoryId: seen.categoryId },
      detail: { targetRunId, target: target.targetName },
    });
    return ledger.write();
  });
}

/** Ends what a server of the version before, which doesn't know of these cancels, has let go on. */
export async function stopResumed(
  sql: Sql,
  runId: number,
  targetRunIds: readonly number[],
): Promise<ProgressNews> {
  return inTransaction(sql, async (tx) => {
    const ledger = await RunLedger.open(tx, { runIds: [runId] });
    if (ledger.run(runId) !== undefined) await stopWaitingOn(tx, ledger, runId, targetRunIds);
    return ledger.write();
  });
}

/** Returns the numbers of steps that run after a cancel too. */
function cleanUpsOf({ stepRules }: Pick<RunRow, 'stepRules'>): number[] {
  return stepRules?.flatMap((rules, at) => (rules.when === 'success' ? [] : [at + 1])) ?? [];
}

/** @throws {AppError} `not_found`, also if the caller may not see it. */
export async function seeTargetRun(
  db: Queryable,
  name: TargetRunName,
  { authority }: Pick<Caller, 'authority'>,
): Promise<TargetRunRecord> {
  const filter = { runId: name.runId, above: 0, limit: 1, ids: [name.targetRunId] };
  const [row] = await listTargetRuns(db, filter, authority.reach('read'));
  if (row === undefined) throw noSuchTargetRun(name);
  return row;
}

function noSuchTargetRun({ runId, targetRunId }: TargetRunName): AppError {
  return notFound(`Target run ${targetRunId} of run ${runId}`);
}
