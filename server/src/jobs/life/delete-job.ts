import { recordAudit } from '../../audit/record-audit.ts';
import { auditedBy, type Caller } from '../../caller.ts';
import { AppError } from '../../errors.ts';
import type { Sql } from '../../store/database/connection.ts';
import { inTransaction } from '../../store/database/transaction.ts';
import { deleteJobs, openRunsOf } from '../../store/jobs/jobs.ts';
import { editableJob } from '../editable-job.ts';

const maxNamedRuns = 20;

/**
 * Deletes a job. A job that never ran is removed completely; otherwise its versions stay as long as its runs, which
 * keep its name. Its name is free at once.
 * @throws {AppError} `not_found`; `forbidden` without `jobs.edit`; `conflict` while it has open runs, naming them.
 */
export async function deleteJob(sql: Sql, id: number, caller: Caller): Promise<void> {
  await inTransaction(sql, async (tx) => {
    const job = await editableJob(tx, id, caller, { againstRuns: true });
    const open = await openRunsOf(tx, [id], maxNamedRuns + 1);
    if (open.length > 0) {
      const named = open.slice(0, maxNamedRuns).map(({ runId }) => `#${runId}`);
      const more = open.length > maxNamedRuns ? ' and more' : '';
      throw new AppError(
        'conflict',
        `Job “${job.name}” has open runs (${named.join(', ')}${more}): cancel them or wait for their end, then delete it.`,
      );
    }
    const whollyGone = (await deleteJobs(tx, [id], caller.userId)) === 1;
    await recordAudit(tx, {
      ...auditedBy(caller),
      action: 'job.deleted',
      object: { kind: 'job', id },
      scope: { categoryId: job.categoryId },
      detail: { name: job.name, version: job.version, runsKept: !whollyGone },
    });
  });
}
