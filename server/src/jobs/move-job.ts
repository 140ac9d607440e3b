import type { Job } from '@opsconductor/protocol';
import { recordAudit } from '../audit/record-audit.ts';
import { MissingPermission } from '../auth/missing-permission.ts';
import { auditedBy, type Caller } from '../caller.ts';
import type { MasterKey } from '../credentials/at-rest/master-key.ts';
import { notFound } from '../errors.ts';
import { refuseUnstorableText } from '../storable-text.ts';
import type { Sql } from '../store/connection.ts';
import { lockJob, setJobCategory } from '../store/jobs.ts';
import { inTransaction } from '../store/transaction.ts';
import { unrestricted } from '../store/visibility.ts';
import { categoryForJobs } from './category-for-jobs.ts';
import { getJob } from './list-jobs.ts';

/**
 * Moves a job to another category, its runs with it: who may see, run and edit them follows.
 *
 * @throws {AppError} `not_found`; `invalid` for a category that is not there; `forbidden` without `jobs.edit` on both.
 */
export async function moveJob(
  deps: { sql: Sql; masterKey: MasterKey },
  id: number,
  request: { category: string },
  caller: Caller,
): Promise<Job> {
  refuseUnstorableText(request);
  await inTransaction(deps.sql, async (tx) => {
    const job = await lockJob(tx, id, caller.authority.reach('read'));
    if (job === undefined) throw notFound('Job');
    if (!caller.authority.holdsOnCategory('jobs.edit', job.categoryId)) {
      throw new MissingPermission(caller, 'jobs.edit', `category “${job.category}”`);
    }
    const to = await categoryForJobs(tx, request.category, caller);
    if (to.id === job.categoryId) return;
    await setJobCategory(tx, id, to.id);
    const moved = {
      ...auditedBy(caller),
      action: 'job.moved',
      object: { kind: 'job', id },
      detail: { name: job.name, from: job.category, to: to.name },
    };
    // Readers of either category are to see it.
    await recordAudit(tx, { ...moved, scope: { categoryId: job.categoryId } });
    await recordAudit(tx, { ...moved, scope: { categoryId: to.id } });
  });
  return getJob(deps, id, unrestricted);
}
