// Running a run's version again, on those of its targets where it ended in some way. A start like any other.
import { isRunEnded, type RerunChoice, type RerunRequest, type RunStatus } from '@opsconductor/protocol';
import { MissingPermission } from '../../auth/missing-permission.ts';
import type { Caller } from '../../caller.ts';
import { AppError, invalidField, notFound } from '../../errors.ts';
import { targetsToRerun } from '../../store/runs/runs.ts';
import { seeRun } from '../view/seen-run.ts';
import type { RequestKey } from './start-once.ts';
import { type StartRunDeps, startRun } from './start-run.ts';

const notSucceeded: readonly RunStatus[] = ['failed', 'partial', 'timed_out', 'cancelled', 'unknown'];
const statusesOf: Record<RerunChoice, readonly RunStatus[]> = {
  failed: ['failed', 'partial', 'timed_out'],
  unknown: ['unknown'],
  not_succeeded: notSucceeded,
  all: [...notSucceeded, 'succeeded'],
};
const maxDetails = 100;

/**
 * Starts the run again on targets as they are now.
 *
 * @throws {AppError} as a start does; `conflict` while the run goes on; `invalid` where none of its targets ended so, one
 * of them is gone, or there is no such step.
 */
export async function rerun(
  deps: StartRunDeps,
  runId: number,
  { which, from_step: fromStep }: RerunRequest,
  caller: Caller,
  requested?: RequestKey,
): ReturnType<typeof startRun> {
  const { run } = await seeRun(deps.sql, runId, caller.authority);
  // How its other targets ended is not for who sees a part of it.
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
  const targets = await targetsToRerun(deps.sql, runId, statusesOf[which]);
  if (targets.length === 0) {
    throw invalidField('which', `No target of run ${runId} ended so.`, {
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
  return startRun(deps, { jobId: run.jobId, selection: { targetIds }, rerun: again, requested }, caller);
}

function refuseGone(names: readonly string[]): void {
  if (names.length === 0) return;
  const details = names.slice(0, maxDetails).map((found) => ({
    path: 'which',
    message: `Target “${found}” was deleted since.`,
    found,
  }));
  const message = `${names.length === 1 ? 'A target' : `${names.length} targets`} of the run were deleted since: start a new run on the others.`;
  throw new AppError('invalid', message, { details });
}
