// Cancels a run. What waits is cancelled at once; what runs is told to stop. No agent has to be alive for this: if
// nobody confirms, the sweep ends the step as unknown, and people who can't wait for that can force it. In a run that
// has ended, attempts that were given up are stopped, as they may still be running if their agent is cut off.
import { isRunEnded, type RunStatus } from '@opsconductor/protocol';
import { recordAudit } from '../../audit/record-audit.ts';
import { MissingPermission } from '../../auth/missing-permission.ts';
import { auditedBy, type Caller } from '../../caller.ts';
import { AppError, notFound } from '../../errors.ts';
import type { Queryable, Sql, Tx } from '../../store/database/connection.ts';
import { inTransaction } from '../../store/database/transaction.ts';
import { hastenCleanUpsOfRun } from '../../store/queue/attempts/clean-ups.ts';
import { countUntoldAttempts } from '../../store/queue/attempts/step-attempts.ts';
import { isRunWithin, markCancelRequested, type RunRecord } from '../../store/runs/runs.ts';
import { type ProgressNews, RunLedger } from '../progress/run-ledger.ts';
import { seeRun } from '../view/seen-run.ts';
import { forcedBy, stopRun, stopWaiting } from './stop-run.ts';

export interface CancelOptions {
  /**
   * Doesn't wait for agents: running steps end unknown at once, and their agents are still told to stop them. Nothing
   * cleans up after them.
   */
  force?: boolean | undefined;
}

/**
 * Cancels an open run. Repeating this while the run is cancelling is no error, and may then force it. A run that has
 * ended keeps its outcome, but attempts in it that were given up and may still be running are stopped as soon as an
 * agent can.
 *
 * @throws {AppError} `not_found`; `conflict` if the run has ended and nothing of it can still be running; `forbidden`
 * if the caller has `run` neither on its job nor on all of its targets.
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
    if (hasEnded && (await countUntoldAttempts(tx, runId)) === 0) throw alreadyEnded(run);
    const isRepeated = hasEnded ? seen.cancelRequestedAt !== null : run.status === 'cancelling';
    if (isRepeated && (hasEnded || !force)) return ledger.write();
    if (!isRepeated) await markCancelRequested(tx, runId, caller.userId, ledger.now);
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

/** Whether the caller may cancel the run and decide in it: they need `run` on its job, or on each of its targets. */
export async function mayDirectRun(
  db: Queryable,
  run: Pick<RunRecord, 'id' | 'categoryId'>,
  { authority }: Pick<Caller, 'authority'>,
): Promise<boolean> {
  if (authority.holdsOnCategory('run', run.categoryId)) return true;
  return authority.holdsSomewhere('run') && isRunWithin(db, run.id, authority.reach('run'));
}

export function alreadyEnded({ id, status }: { id: number; status: RunStatus }): AppError {
  return new AppError('conflict', `Run ${id} has already ended: it is ${status.replace('_', ' ')}.`);
}

export async function requireRun(tx: Tx, run: RunRecord, caller: Caller): Promise<void> {
  if (await mayDirectRun(tx, run, caller)) return;
  throw new MissingPermission(caller, 'run', `category “${run.category}” or on all targets of the run`);
}
