import { isRunEnded } from '@opsconductor/protocol';
import { recordAudit } from '../../audit/record-audit.ts';
import { MissingPermission } from '../../auth/missing-permission.ts';
import { auditedBy, type Caller } from '../../caller.ts';
import { AppError } from '../../errors.ts';
import type { Sql } from '../../store/database/connection.ts';
import { inTransaction } from '../../store/database/transaction.ts';
import { lockRun, purgeRun } from '../../store/runs/runs.ts';
import { seeRun } from '../view/seen-run.ts';
import { requireRun } from './cancel-run.ts';

/**
 * Deletes a run that has ended, with everything that belongs to it.
 *
 * @throws {AppError} `not_found`; `conflict` if the run is still open; `forbidden` if the caller may not cancel it, or
 * lacks `runs.purge` on its job's category.
 */
export async function purgeEndedRun(sql: Sql, runId: number, caller: Caller): Promise<void> {
  await inTransaction(sql, async (tx) => {
    // Locked first, so that only one of several purges finds it.
    await lockRun(tx, runId);
    const { run } = await seeRun(tx, runId, caller.authority);
    await requireRun(tx, run, caller);
    if (!caller.authority.holdsOnCategory('runs.purge', run.categoryId)) {
      throw new MissingPermission(caller, 'runs.purge', `category “${run.category}”`);
    }
    if (!isRunEnded(run.status)) {
      throw new AppError(
        'conflict',
        run.status === 'cancelling'
          ? `Run ${runId} is being cancelled: wait for its end, or force the cancel, then purge it.`
          : `Run ${runId} is still ${run.status}: cancel it first, then purge it.`,
      );
    }
    await purgeRun(tx, runId);
    await recordAudit(tx, {
      ...auditedBy(caller),
      action: 'run.purged',
      object: { kind: 'run', id: runId },
      scope: { categoryId: run.categoryId },
      detail: { jobId: run.jobId, status: run.status },
    });
  });
}
