import type { Job, JobState, JobStateRequest } from '@opsconductor/protocol';
import { mayBecome } from '@opsconductor/protocol';
import { recordAudit } from '../../audit/record-audit.ts';
import { auditedBy, type Caller } from '../../caller.ts';
import type { MasterKey } from '../../credentials/at-rest/master-key.ts';
import { AppError } from '../../errors.ts';
import type { Sql } from '../../store/database/connection.ts';
import { inTransaction } from '../../store/database/transaction.ts';
import { setJobState } from '../../store/jobs/jobs.ts';
import { unrestricted } from '../../store/people/visibility.ts';
import { refuseUnstorableText } from '../../validation/storable-text.ts';
import { editableJob } from '../editable-job.ts';
import { getJob, nextStatesOf } from '../list-jobs.ts';

/**
 * Brings a job into another state. Open runs continue. If the job already has the state, nothing changes.
 * @throws {AppError} `not_found`; `forbidden` without `jobs.edit`; `conflict` for a state that can't follow the current
 * one.
 */
export async function changeState(
  deps: { sql: Sql; masterKey: MasterKey },
  id: number,
  { state, note = '' }: JobStateRequest,
  caller: Caller,
): Promise<Job> {
  refuseUnstorableText({ note });
  await inTransaction(deps.sql, async (tx) => {
    const job = await editableJob(tx, id, caller);
    if (job.state === state) return;
    const problem = stateProblem(job, state);
    if (problem !== undefined) {
      throw new AppError('conflict', problem, {
        details: [
          { path: 'state', message: problem, found: state, allowed: nextStatesOf(job.state).join(', ') },
        ],
      });
    }
    await setJobState(tx, [id], { state, note, updatedBy: caller.userId });
    await recordAudit(tx, {
      ...auditedBy(caller),
      action: 'job.state_changed',
      object: { kind: 'job', id },
      scope: { categoryId: job.categoryId },
      detail: { name: job.name, from: job.state, to: state, ...(note === '' ? {} : { note }) },
    });
  });
  return getJob(deps, id, unrestricted, caller.authority.reach('read'));
}

/** Returns why a job can't come into a state, and what to do; undefined if it can. */
export function stateProblem(job: { name: string; state: JobState }, to: JobState): string | undefined {
  if (mayBecome('job', job.state, to)) return undefined;
  const next = nextStatesOf(job.state);
  return `Job “${job.name}” is ${job.state}, which can become ${next.join(' or ')}, not ${to}.`;
}
