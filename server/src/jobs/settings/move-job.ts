import type { Job } from '@opsconductor/protocol';
import type { Caller } from '../../caller.ts';
import type { MasterKey } from '../../credentials/at-rest/master-key.ts';
import { refuseNewlyBroken } from '../../site-rules/hold-jobs.ts';
import type { Sql } from '../../store/database/connection.ts';
import { inTransaction } from '../../store/database/transaction.ts';
import { unrestricted } from '../../store/people/visibility.ts';
import { refuseUnstorableText } from '../../validation/storable-text.ts';
import { editableJob } from '../editable-job.ts';
import { getJob } from '../list-jobs.ts';
import { categoryForJobs } from './category-for-jobs.ts';
import { changeSettings } from './change-settings.ts';

/**
 * Moves a job with its runs to another category, which then decides who may see, run and edit them.
 * @throws {AppError} `not_found`; `invalid` for a category that does not exist, or whose site rules it would break;
 * `forbidden` without `jobs.edit` on both.
 */
export async function moveJob(
  deps: { sql: Sql; masterKey: MasterKey },
  id: number,
  { category }: { category: string },
  caller: Caller,
): Promise<Job> {
  refuseUnstorableText({ category });
  await inTransaction(deps.sql, async (tx) => {
    const job = await editableJob(tx, id, caller);
    await categoryForJobs(tx, category, caller);
    if (category !== job.category) await refuseNewlyBroken(tx, deps.masterKey, id, { category });
    await changeSettings(tx, job, { category }, caller);
  });
  return getJob(deps, id, unrestricted, caller.authority.reach('read'));
}
