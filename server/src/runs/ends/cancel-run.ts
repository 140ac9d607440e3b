// Cancelling a run. What waits is cancelled here and now; what runs is asked to stop, and needs no agent to be alive:
// the sweep ends it as unknown when nobody confirms, and who can't wait for that forces it. Of a run that has ended, what
// may go on all the same is stopped: an attempt that was given up runs on where its agent is cut off.
import { isRunEnded } from '@opsconductor/protocol';
import { recordAudit } from '../../audit/record-audit.ts';
import { MissingPermission } from '../../auth/missing-permission.ts';
import { auditedBy, type Caller } from '../../caller.ts';
import { AppError, notFound } from '../../errors.ts';
import type { Queryable, Sql, Tx } from '../../store/database/connection.ts';
import { inTransaction } from '../../store/database/transaction.ts';
import { hastenCleanUpsOfRun } from '../../store/queue/clean-ups.ts';
import { countUntoldAttempts } from '../../store/queue/step-attempts.ts';
import { isRunWithin, markCancelRequested, type RunRecord } from '../../store/runs/runs.ts';
import { type ProgressNews, RunLedger } from '../progress/run-ledger.ts';
import { seeRun } from '../view/seen-run.ts';
import { forcedBy, stopRun, stopWaiting } from './stop-run.ts';

export interface CancelOptions {
  /**
   * Waits for no agent: what runs ends unknown here and now, and goes on being told to stop. Nothing cleans up after it.
   */
  force?: boolean | undefined;
}

/**
 * Cancels an open run; asking again is no error while it is cancelling, and may then force it. A run that has ended keeps
 * its outcome: what was given up in it, and may still run, is stopped as soon as an agent can.
 *
 * @throws {AppError} `not_found`; `conflict` for a run that has ended and of which nothing can run any more; `forbidden`
 * for who has `run` neither on its job nor on all of its targets.
 */
export async function cancelRun(
  sql: Sql,
  runId: number,
  caller: Caller,
  { force = false }: CancelOptions = {},
): Promise<ProgressNews> {
  return inTransaction(sql, async (tx) => {
    const { run: seen } = await seeRun(tx, runId, caller.authority);
    await requireRun(tx, seen, caller);
    const ledger = await RunLedger.open(tx, { runIds: [runId] });
    const run = ledger.run(runId);
    if (run === undefined) throw notFound(`Run ${runId}`);
    const hasEnded = isRunEnded(run.status);
    if (hasEnded && (await countUntoldAttempts(tx, runId)) === 0) {
      throw new AppError(
        'conflict',
        `Run ${runId} has already ended: it is ${run.status.replace('_', ' ')}.`,
      );
    }
    const isRepeated = hasEnded ? seen.cancelRequestedAt !== null : run.status === 'cancelling';
    if (isRepeated && (hasEnded || !force)) return ledger.write();
    if (!isRepeated) await markCancelRequested(tx, runId, caller.userId);
    ledger.requestCancel(runId);
    await hastenCleanUpsOfRun(tx, runId);
    if (force && !hasEnded) await stopRun(tx, ledger, runId, forcedBy(caller.name));
    else if (!hasEnded) await stopWaiting(tx, ledger, runId, 'cancelled');
    await recordAudit(tx, {
      ...auditedBy(caller),
      action: force && !hasEnded ? 'run.cancel_forced' : 'run.cancel_requested',
      object: { kind: 'run', id: runId },
      scope: { categoryId: seen.categoryId },
    });
    return ledger.write();
  });
}

/** Whether they may say what becomes of the run: with `run` on its job, or on each of its targets. */
export async function mayDirectRun(
  db: Queryable,
  run: Pick<RunRecord, 'id' | 'categoryId'>,
  { authority }: Pick<Caller, 'authority'>,
): Promise<boolean> {
  if (authority.holdsOnCategory('run', run.categoryId)) return true;
  return authority.holdsSomewhere('run') && isRunWithin(db, run.id, authority.reach('run'));
}

export async function requireRun(tx: Tx, run: RunRecord, caller: Caller): Promise<void> {
  if (await mayDirectRun(tx, run, caller)) return;
  throw new MissingPermission(caller, 'run', `category “${run.category}” or on all targets of the run`);
}
