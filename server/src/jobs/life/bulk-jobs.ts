// Applies one action to many jobs: to all selected ones, or to none. A dry run reports what would be done and what
// prevents it.
import {
  type BulkJobAction,
  type BulkJobReply,
  type BulkJobRequest,
  type JobState,
  type Labels,
  limits,
} from '@opsconductor/protocol';
import type { AuditEntry } from '../../audit/record-audit.ts';
import { recordAudits } from '../../audit/record-audits.ts';
import { MissingPermission } from '../../auth/missing-permission.ts';
import { auditedBy, type Caller } from '../../caller.ts';
import type { MasterKey } from '../../credentials/at-rest/master-key.ts';
import { AppError, invalidField } from '../../errors.ts';
import { type JobPlace, newlyBroken } from '../../site-rules/hold-jobs.ts';
import type { Sql, Tx } from '../../store/database/connection.ts';
import { inTransaction } from '../../store/database/transaction.ts';
import {
  type BulkJobRow,
  selectJobsToChange,
  setCategoryOfJobs,
  setLabelsOfJobs,
} from '../../store/jobs/job-bulk.ts';
import { deleteJobs, openRunsOf, setJobState } from '../../store/jobs/jobs.ts';
import { refuseUnstorableText } from '../../validation/storable-text.ts';
import { readJobFilter } from '../list-jobs.ts';
import { categoryForJobs } from '../settings/category-for-jobs.ts';
import { stateProblem } from './change-state.ts';

const maxPlanned = 200;
const maxObstacles = 100;
const maxAuditRowsAtATime = 1_000;

const stateAfter: Partial<Record<BulkJobAction, JobState>> = {
  activate: 'active',
  deactivate: 'inactive',
  archive: 'archived',
  restore: 'inactive',
};
/** The field that an action needs; no other may be given with it. */
const fieldOf: Partial<Record<BulkJobAction, 'category' | 'labels' | 'labelNames'>> = {
  categorise: 'category',
  label: 'labels',
  unlabel: 'labelNames',
};

type Obstacle = BulkJobReply['obstacles'][number];
interface Planned {
  job: BulkJobRow;
  before: string;
  after: string;
}

/**
 * @throws {AppError} `invalid` for a request that contradicts itself, more jobs than can be changed at once, or ids
 * that the caller does not see; `forbidden` if they may not edit one of the jobs; `conflict` with what prevents the
 * change.
 */
export async function bulkChangeJobs(
  { sql, masterKey }: { sql: Sql; masterKey: MasterKey },
  request: BulkJobRequest,
  caller: Caller,
): Promise<BulkJobReply> {
  refuseUnstorableText(request);
  refuseContradictions(request);
  return inTransaction(sql, (tx) => bulkChangeWithin(tx, masterKey, request, caller));
}

/** The same as part of a transaction, for a request that was already checked. */
export async function bulkChangeWithin(
  tx: Tx,
  masterKey: MasterKey,
  request: BulkJobRequest,
  caller: Caller,
): Promise<BulkJobReply> {
  const jobs = await selectJobs(tx, request, caller);
  refuseForbidden(jobs, caller);
  const category =
    request.action === 'categorise' ? await categoryForJobs(tx, request.category, caller) : undefined;
  const plan = jobs.flatMap((job) => planOf(request, job, category));
  const obstacles = [
    ...(await obstaclesOf(tx, request, plan)),
    ...(await brokenBy(tx, masterKey, request, plan)),
  ];
  const dryRun = request.dryRun === true;
  if (!dryRun) {
    refuseObstacles(obstacles);
    if (plan.length > 0) await apply(tx, request, plan, category, caller);
  }
  return {
    selected: jobs.length,
    changed: plan.length,
    dryRun,
    plan: plan
      .slice(0, maxPlanned)
      .map(({ job, before, after }) => ({ id: job.id, name: job.name, before, after })),
    obstacles: obstacles.slice(0, maxObstacles),
  };
}

function refuseContradictions(request: BulkJobRequest): void {
  if ((request.ids === undefined) === (request.filter === undefined)) {
    throw invalidField('ids', 'Say which jobs: give either ids or a filter.');
  }
  const needed = fieldOf[request.action];
  for (const field of ['category', 'labels', 'labelNames'] as const) {
    if (field === needed && request[field] === undefined) {
      throw invalidField(field, `Is missing: the action ${request.action} needs it.`);
    }
    if (field !== needed && request[field] !== undefined) {
      throw invalidField(field, `Has no meaning for the action ${request.action}; leave it out.`);
    }
  }
}

async function selectJobs(tx: Tx, request: BulkJobRequest, caller: Caller): Promise<BulkJobRow[]> {
  const { ids, filter = {} } = request;
  const limit = limits.maxJobsPerBulk;
  const selection = ids === undefined ? { filter: readJobFilter(filter, 'filter.') } : { ids };
  const againstRuns = request.action === 'delete';
  const read = caller.authority.reach('read');
  const jobs = await selectJobsToChange(tx, selection, read, { limit, againstRuns });
  if (jobs.length > limit) {
    throw invalidField(
      'filter',
      `More than ${limit} jobs match, which is the most for one request; narrow it.`,
    );
  }
  const found = new Set(jobs.map(({ id }) => id));
  const missing = (ids ?? []).flatMap((id, at) => (found.has(id) ? [] : [{ id, at }]));
  if (missing.length === 0) return jobs;
  const details = missing.slice(0, maxObstacles).map(({ id, at }) => ({
    path: `ids[${at}]`,
    message: 'There is no such job.',
    found: String(id),
  }));
  throw new AppError(
    'invalid',
    `${missing.length} of the jobs ${missing.length === 1 ? 'does' : 'do'} not exist.`,
    { details },
  );
}

function refuseForbidden(jobs: readonly BulkJobRow[], caller: Caller): void {
  const outside = jobs.filter(({ categoryId }) => !caller.authority.holdsOnCategory('jobs.edit', categoryId));
  const [first] = outside;
  if (first === undefined) return;
  const details = outside.slice(0, maxObstacles).map(({ name }) => ({
    path: '',
    found: name,
    message: `You may not change job “${name}”: that needs the permission jobs.edit on its category.`,
  }));
  const others =
    outside.length === 1 ? '' : `, which job “${first.name}” and ${outside.length - 1} more are in`;
  throw new MissingPermission(caller, 'jobs.edit', `category “${first.category}”${others}`, details);
}

/** Returns the job before and after the change, or undefined if both are equal. */
function planOf(
  request: BulkJobRequest,
  job: BulkJobRow,
  category: { id: number; name: string } | undefined,
): Planned[] {
  const state = stateAfter[request.action];
  if (state !== undefined) return job.state === state ? [] : [{ job, before: job.state, after: state }];
  if (category !== undefined) {
    return job.categoryId === category.id ? [] : [{ job, before: job.category, after: category.name }];
  }
  if (request.action === 'delete') return [{ job, before: job.state, after: 'deleted' }];
  const before = labelsInWords(job.labels);
  const after = labelsInWords(labelsAfter(job.labels, request));
  return before === after ? [] : [{ job, before, after }];
}

function labelsAfter(labels: Labels, { labels: set = {}, labelNames: unset = [] }: BulkJobRequest): Labels {
  const kept = Object.entries(labels).filter(([name]) => !unset.includes(name));
  return { ...Object.fromEntries(kept), ...set };
}

function labelsInWords(labels: Labels): string {
  const words = Object.entries(labels).map(([name, value]) => (value === '' ? name : `${name}=${value}`));
  return words.sort().join(', ');
}

async function obstaclesOf(tx: Tx, request: BulkJobRequest, plan: readonly Planned[]): Promise<Obstacle[]> {
  const state = stateAfter[request.action];
  if (state !== undefined) {
    return plan.flatMap(({ job }) => {
      // An archived job is restored, not deactivated, although both end in the same state.
      const message =
        request.action === 'deactivate' && job.state === 'archived'
          ? `Job “${job.name}” is archived: use restore.`
          : request.action === 'restore' && job.state !== 'archived'
            ? `Job “${job.name}” is ${job.state}, not archived.`
            : stateProblem(job, state);
      return message === undefined ? [] : [{ id: job.id, name: job.name, message }];
    });
  }
  if (request.action === 'label') return plan.flatMap((one) => tooManyLabels(request, one));
  if (request.action !== 'delete') return [];
  const names = new Map(plan.map(({ job }) => [job.id, job.name]));
  const open = await openRunsOf(tx, [...names.keys()], maxObstacles);
  return open.map(({ jobId, runId }) => {
    const name = names.get(jobId) ?? '';
    return {
      id: jobId,
      name,
      message: `Job “${name}” has the open run #${runId}: cancel it or wait for its end.`,
    };
  });
}

function tooManyLabels(request: BulkJobRequest, { job: { id, name, labels } }: Planned): Obstacle[] {
  const count = Object.keys(labelsAfter(labels, request)).length;
  if (count <= limits.maxLabels) return [];
  const message = `Job “${name}” would have ${count} labels; ${limits.maxLabels} are allowed. Remove some of them first.`;
  return [{ id, name, message }];
}

/** Returns the site rules that jobs would break in another category or with other labels. */
async function brokenBy(
  tx: Tx,
  masterKey: MasterKey,
  request: BulkJobRequest,
  plan: readonly Planned[],
): Promise<Obstacle[]> {
  const { action, category } = request;
  if (action !== 'categorise' && action !== 'label' && action !== 'unlabel') return [];
  const places = plan.map(({ job }): [number, JobPlace] => [
    job.id,
    action === 'categorise' ? { category } : { labels: labelsAfter(job.labels, request) },
  ]);
  const broken = await newlyBroken(tx, masterKey, new Map(places));
  return broken.flatMap(({ id, name, problems }) =>
    problems.map(({ rule, message }) => ({
      id,
      name,
      message: `Job “${name}” would break site rule “${rule}”: ${message}`,
    })),
  );
}

function refuseObstacles(obstacles: readonly Obstacle[]): void {
  const [first] = obstacles;
  if (first === undefined) return;
  const details = obstacles
    .slice(0, maxObstacles)
    .map(({ name, message }) => ({ path: '', found: name, message }));
  const others = obstacles.length === 1 ? '' : ` ${obstacles.length - 1} more problems prevent it.`;
  throw new AppError('conflict', `Nothing was changed. ${first.message}${others}`, { details });
}

async function apply(
  tx: Tx,
  request: BulkJobRequest,
  plan: readonly Planned[],
  category: { id: number; name: string } | undefined,
  caller: Caller,
): Promise<void> {
  const ids = plan.map(({ job }) => job.id);
  const state = stateAfter[request.action];
  if (state !== undefined) {
    await setJobState(tx, ids, { state, note: request.note ?? '', updatedBy: caller.userId });
  } else if (category !== undefined) {
    await setCategoryOfJobs(tx, ids, category.id, caller.userId);
  } else if (request.action === 'delete') {
    await deleteJobs(tx, ids, caller.userId);
  } else {
    const change = { set: request.labels ?? {}, unset: request.labelNames ?? [] };
    await setLabelsOfJobs(tx, ids, change, caller.userId);
  }
  const rows = plan.flatMap((one) => auditRowsOf(request, one, category, caller));
  for (let at = 0; at < rows.length; at += maxAuditRowsAtATime) {
    await recordAudits(tx, rows.slice(at, at + maxAuditRowsAtATime));
  }
}

/** Returns the audit rows that the same change to a single job would write. */
function auditRowsOf(
  request: BulkJobRequest,
  { job, before, after }: Planned,
  category: { id: number; name: string } | undefined,
  caller: Caller,
): AuditEntry[] {
  const note = request.note === undefined || request.note === '' ? {} : { note: request.note };
  const entry = (
    action: string,
    detail: Record<string, unknown>,
    categoryId = job.categoryId,
  ): AuditEntry => ({
    ...auditedBy(caller),
    action,
    object: { kind: 'job', id: job.id },
    scope: { categoryId },
    detail: { name: job.name, ...detail, ...note, bulk: true },
  });
  if (category !== undefined) {
    const moved = { from: before, to: after };
    return [entry('job.moved', moved), entry('job.moved', moved, category.id)];
  }
  if (request.action === 'delete') return [entry('job.deleted', { version: job.version })];
  if (stateAfter[request.action] !== undefined)
    return [entry('job.state_changed', { from: before, to: after })];
  return [entry('job.labelled', { from: job.labels, to: labelsAfter(job.labels, request) })];
}
