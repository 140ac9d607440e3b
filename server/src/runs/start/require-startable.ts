// Checks that the caller may start the job in the way they ask for.
import type { JobDefinition } from '@opsconductor/protocol';
import { MissingPermission } from '../../auth/missing-permission.ts';
import type { Caller } from '../../caller.ts';
import { AppError, notFound } from '../../errors.ts';
import type { RunPlan } from '../../store/runs/run-creation.ts';
import type { StartRun } from './start-request.ts';

/** Only active jobs can be run. A draft or a template can be run for trial by people who may both run and edit it. */
export function requireRunnable(job: RunPlan, jobId: number, caller: Caller): void {
  const { authority } = caller;
  if (!authority.holdsOnCategory('read', job.categoryId)) throw notFound(`Job ${jobId}`);
  if (!authority.holdsOnCategory('run', job.categoryId)) {
    throw new MissingPermission(caller, 'run', `category “${job.category}”`);
  }
  if (job.state === 'inactive') {
    throw new AppError('conflict', `Job “${job.name}” is inactive: activate it to run it.`);
  }
  if (job.state === 'archived') {
    throw new AppError('conflict', `Job “${job.name}” is archived: restore and activate it to run it.`);
  }
  if (!isTrial(job) || authority.holdsOnCategory('jobs.edit', job.categoryId)) return;
  const what = job.isTemplate ? 'a template' : 'a draft';
  throw new MissingPermission(caller, 'jobs.edit', `category “${job.category}”`, [
    { path: '', message: `Job “${job.name}” is ${what}: only people who may edit it can run it, for trial.` },
  ]);
}

/**
 * Checks overrides that loosen the limits of the job's author: a higher priority, another strategy or a longer timeout.
 * Only people who may edit the job may use them.
 */
export function requireOverrides(
  request: StartRun,
  definition: JobDefinition,
  job: RunPlan,
  caller: Caller,
): void {
  const { priority, strategy, timeoutS } = request;
  const isLonger =
    timeoutS !== undefined && definition.timeout !== undefined && timeoutS > definition.timeout;
  const loosened = [
    ...(priority !== undefined && priority > (definition.priority ?? 0) ? ['priority'] : []),
    ...(strategy !== undefined && definition.strategy !== undefined ? ['strategy'] : []),
    ...(isLonger ? ['timeout'] : []),
  ];
  if (loosened.length === 0 || caller.authority.holdsOnCategory('jobs.edit', job.categoryId)) return;
  const details = loosened.map((path) => ({
    path,
    message: `Only people who may edit the job may set ${path} beyond what the job says; leave it out.`,
  }));
  throw new MissingPermission(caller, 'jobs.edit', `category “${job.category}”`, details);
}

export function isTrial({ state, isTemplate }: RunPlan): boolean {
  return state === 'draft' || isTemplate;
}
