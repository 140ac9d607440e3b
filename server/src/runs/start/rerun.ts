// Runs the version of an earlier run again, on those of its targets that ended in a chosen way. Otherwise it is a
// normal start.
import { isRunEnded, type RerunChoice, type RerunRequest, type RunStatus } from '@opsconductor/protocol';
import { MissingPermission } from '../../auth/missing-permission.ts';
import type { Caller } from '../../caller.ts';
import { AppError, invalidField, notFound } from '../../errors.ts';
import { type Sql, violatedConstraint } from '../../store/database/connection.ts';
import { targetsToRerun } from '../../store/runs/runs.ts';
import { seeRun } from '../view/seen-run.ts';
import type { StartRun } from './start-request.ts';
import type { Started } from './start-run.ts';

const notSucceeded: readonly RunStatus[] = ['failed', 'partial', 'timed_out', 'cancelled', 'unknown'];
const statusesOf: Record<RerunChoice, readonly RunStatus[]> = {
  failed: ['failed', 'partial', 'timed_out'],
  unknown: ['unknown'],
  not_succeeded: notSucceeded,
  all: [...notSucceeded, 'succeeded'],
};
const maxDetails = 100;

/**
 * Starts the run again, by calling `start` with what it asks for. Targets are used as they are now.
 *
 * @throws {AppError} as a start does; `conflict` while the earlier run is going on; `invalid` if none of its targets
 * ended that way, one of them has been deleted, or there is no such step.
 */
export async function rerun<T>(
  sql: Sql,
  runId: number,
  { which, from_step: fromStep }: RerunRequest,
  caller: Caller,
  start: (request: StartRun) => Promise<Started<T>>,
): Promise<Started<T>> {
  const { run } = await seeRun(sql, runId, caller.authority);
  // A reader who sees only part of the run must not learn how its other targets ended.
  if (!caller.authority.holdsOnCategory('read', run.categoryId)) throw notFound(`Job ${run.jobId}`);
  if (!caller.authority.holdsOnCategory('run', run.categoryId)) {
    throw new MissingPermission(caller, 'run', `category “${run.category}”`);
  }
  if (!isRunEnded(run.status)) {
    throw new AppError('conflict', `Run ${runId} is still ${run.status}: wait for its end, or cancel it.`);
  }
  if (typeof fromStep === 'number' && fromStep > run.stepNames.length) {
    throw invalidField('from_step', `The run has ${run.stepNames.length} steps.`, {
      found: String(fromStep),
      allowed: `1 to ${run.stepNames.length}, or “failed”`,
    });
  }
  const targets = await targetsToRerun(sql, runId, statusesOf[which]);
  if (targets.length === 0) {
    throw invalidField('which', `No target of run ${runId} ended that way.`, {
      found: which,
      allowed: 'a choice that some target run fits',
    });
  }
  const targetIds = targets.flatMap(({ targetId }) => targetId ?? []);
  refuseGone(targets.filter(({ targetId }) => targetId === null).map(({ targetName }) => targetName));
  const firstSteps = new Map<number, number>();
  for (const { targetId, failedStep } of targets) {
    const first = fromStep === 'failed' ? failedStep : (fromStep ?? 1);
    if (targetId !== null && first > 1) firstSteps.set(targetId, first);
  }
  const again = { runId, jobVersion: run.jobVersion, which, firstSteps };
  const request = { jobId: run.jobId, selection: { targetIds }, rerun: again };
  return start(request).catch((error) => {
    // The run was purged since it was read above.
    throw violatedConstraint(error) === 'job_runs_rerun_of_fkey' ? notFound(`Run ${runId}`) : error;
  });
}

function refuseGone(names: readonly string[]): void {
  if (names.length === 0) return;
  const details = names.slice(0, maxDetails).map((found) => ({
    path: 'which',
    message: `Target “${found}” has been deleted.`,
    found,
  }));
  const message = `${names.length === 1 ? 'A target of the run has' : `${names.length} targets of the run have`} been deleted: start a new run on the others.`;
  throw new AppError('invalid', message, { details });
}
