import { MissingPermission } from '../auth/missing-permission.ts';
import type { Caller } from '../caller.ts';
import { notFound } from '../errors.ts';
import type { Tx } from '../store/database/connection.ts';
import { findJob, type JobDetailRow, lockJob, lockJobAgainstRuns } from '../store/jobs/jobs.ts';

/**
 * Returns the job, locked, for a caller who may change it.
 * @throws {AppError} `not_found` if the caller does not see it; `forbidden` without `jobs.edit` on its category.
 */
export async function editableJob(
  tx: Tx,
  id: number,
  caller: Caller,
  options: { againstRuns?: boolean } = {},
): Promise<JobDetailRow> {
  const lock = options.againstRuns === true ? lockJobAgainstRuns : lockJob;
  const job = await lock(tx, id, caller.authority.reach('read'));
  if (job === undefined) throw notFound('Job');
  requireJobsEdit(caller, job);
  return job;
}

/** The same without a lock, for callers that only read. */
export async function findEditableJob(tx: Tx, id: number, caller: Caller): Promise<JobDetailRow> {
  const job = await findJob(tx, id, caller.authority.reach('read'));
  if (job === undefined) throw notFound('Job');
  requireJobsEdit(caller, job);
  return job;
}

/** @throws {MissingPermission} */
function requireJobsEdit(caller: Caller, job: { categoryId: number; category: string }): void {
  if (caller.authority.holdsOnCategory('jobs.edit', job.categoryId)) return;
  throw new MissingPermission(caller, 'jobs.edit', `category “${job.category}”`);
}
