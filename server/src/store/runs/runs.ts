// Reading runs for the API, and the few single-row writes that aren't progress.
import type {
  Detections,
  Lock,
  OutputState,
  RunSelection,
  RunSort,
  RunStatus,
  RunStrategy,
} from '@opsconductor/protocol';
import type { Reach } from '../../auth/authority.ts';
import { type Queryable, type Sql, sqlState, type Tx, unprepared } from '../database/connection.ts';
import { containsPattern } from '../database/cursor.ts';
import { dropDeletedJobs } from '../jobs/jobs.ts';
import {
  type Condition,
  jobWithin,
  reachesEverything,
  targetRunOnTargets,
  targetRunWithin,
  wholeRunWithin,
} from '../people/visibility.ts';
import { deleteOutputOf } from './run-output.ts';

export interface RunRecord {
  id: number;
  jobId: number;
  jobName: string;
  categoryId: number;
  category: string;
  jobVersion: number;
  status: RunStatus;
  maxFailures: number;
  outputState: OutputState;
  targetsTotal: number;
  targetsRunning: number;
  targetsHeld: number;
  targetsSucceeded: number;
  targetsFailed: number;
  targetsCancelled: number;
  targetsTimedOut: number;
  targetsUnknown: number;
  totalSteps: number;
  completedSteps: number;
  failedSteps: number;
  lateResults: number;
  createdBy: string | null;
  createdAt: Date;
  startBy: Date;
  startedAt: Date | null;
  completedAt: Date | null;
  executionTimeMs: number | null;
  errorMessage: string | null;
  cancelRequestedAt: Date | null;
  cancelRequestedBy: string | null;
  eventSeq: number;
  stepNames: string[];
  stepTypes: string[];
  selection: RunSelection | null;
  priority: number;
  timeoutS: number | null;
  stopReason: 'run_timeout' | null;
  locks: Lock[] | null;
  strategy: RunStrategy | null;
  targetsOpened: number | null;
  batchNumber: number | null;
  batchEnd: number | null;
  haltedReason: string | null;
  rerunOf: number | null;
  isTrial: boolean;
  /** Whether it was signed. */
  isSigned: boolean;
  versionRef: string | null;
  reason: string | null;
  /** Read only for a single run. */
  reruns?: number[];
}

const maxReruns = 100;

function runColumns(db: Queryable, more = db``) {
  return db`r.id, r.job_id, j.name as job_name, j.category_id, k.name as category, r.job_version, r.status, r.max_failures,
    r.output_state, r.targets_total,
    r.targets_running, r.targets_held, r.late_results, r.targets_succeeded, r.targets_failed, r.targets_cancelled, r.targets_timed_out,
    r.targets_unknown, r.total_steps, r.completed_steps, r.failed_steps, u.name as created_by, r.created_at,
    r.start_by, r.started_at, r.completed_at, r.execution_time_ms, r.error_message, r.cancel_requested_at,
    c.name as cancel_requested_by, r.event_seq, v.step_names, v.step_types, r.selection, r.priority, r.timeout_s, r.stop_reason, r.locks,
    r.strategy, r.targets_opened, r.batch_number, r.batch_end, r.halted_reason, r.rerun_of, r.is_trial, r.version_ref, r.reason,
    r.signed_grant is not null as is_signed ${more}
  from job_runs r
  join jobs j on j.id = r.job_id
  join categories k on k.id = j.category_id
  join job_versions v on v.job_id = r.job_id and v.version = r.job_version
  left join users u on u.id = r.created_by
  left join users c on c.id = r.cancel_requested_by`;
}

/** Returns a run as a whole, regardless of who asks. For what a caller may see of it, use runs/view/seen-run.ts. */
export async function findRun(db: Queryable, id: number): Promise<RunRecord | undefined> {
  const reruns = db`, array(select again.id from job_runs again where again.rerun_of = r.id
    order by again.id desc limit ${maxReruns}) as reruns`;
  const rows = await db<RunRecord[]>`select ${runColumns(db, reruns)} where r.id = ${id}`;
  return rows[0];
}

/** Whether the whole run lies within the reaches. */
export async function isRunWithin(db: Queryable, id: number, reaches: readonly Reach[]): Promise<boolean> {
  const rows = await db`
    select from job_runs r join jobs j on j.id = r.job_id where r.id = ${id} and ${wholeRunWithin(db, reaches)}`;
  return rows.length > 0;
}

export interface RunFilter {
  statuses?: readonly RunStatus[] | undefined;
  /** For runs that are visible in part: a visible target run must have one of these. Given whenever `statuses` is. */
  partStatuses?: readonly RunStatus[] | undefined;
  jobId?: number | undefined;
  targetId?: number | undefined;
  /** Path of a category of jobs; includes those below it. */
  category?: string | undefined;
  /** Part of the job's name. */
  search?: string | undefined;
  /** Id of the user who started it. */
  createdBy?: number | undefined;
  /** Part of the name of a target. */
  target?: string | undefined;
  /** Number of the version, or the name by which it was requested. */
  version?: string | undefined;
  createdAfter?: Date | undefined;
  createdBefore?: Date | undefined;
  /** Runs that have a target run within these. */
  reaches: readonly Reach[];
}

export interface RunListQuery extends RunFilter {
  sort?: RunSort | undefined;
  /** Only runs after this one in the order of the list. */
  beyond?: number | undefined;
  limit: number;
}

/** The work took longer than it may. */
export class TookTooLong extends Error {}

const queryCancelled = '57014';

/**
 * Runs work that must end within a time limit, however many statements it takes; all of them use one connection. Call
 * `goOn` before each further statement to give the database only the time that is left; otherwise it has what was left
 * at the previous call.
 *
 * @throws {TookTooLong}
 */
export async function listingWithin<T>(
  sql: Sql,
  timeoutMs: number,
  work: (db: Queryable, goOn: () => Promise<void>) => Promise<T>,
): Promise<T> {
  const read = sql.begin('read only', async (tx) => {
    const endMs = performance.now() + timeoutMs;
    const goOn = async () => {
      const leftMs = Math.floor(endMs - performance.now());
      // The database would take 0 as no limit.
      if (leftMs < 1) throw new TookTooLong();
      await tx`select set_config('statement_timeout', ${String(leftMs)}, true)`;
    };
    await goOn();
    return work(tx as unknown as Queryable, goOn);
  }) as Promise<T>;
  return read.catch((error) => {
    throw sqlState(error) === queryCancelled ? new TookTooLong(undefined, { cause: error }) : error;
  });
}

export async function listRuns(db: Queryable, query: RunListQuery): Promise<RunRecord[]> {
  const { beyond, limit } = query;
  const isOldest = query.sort === 'oldest';
  const after = isOldest ? db`and r.id > ${beyond ?? 0}` : db`and r.id < ${beyond ?? 0}`;
  const order = db`order by id ${isOldest ? db`asc` : db`desc`} limit ${limit}`;
  const fitting = fittingRuns(db, query, (condition) => {
    return db`(select r.id from job_runs r join jobs j on j.id = r.job_id
      where ${condition} ${beyond === undefined ? db`` : after} ${idBound(db, query)} ${order})`;
  });
  return unprepared(db<RunRecord[]>`
    ${fitting.first} select ${runColumns(db)}
    where r.id = any(array(select id from (${fitting.ids}) fitting ${order}))
    order by r.id ${isOldest ? db`asc` : db`desc`}`);
}

/** Passing over fewer runs than this is faster than looking up all ids of a longer period. */
const fewBeyond = 10_000;

/**
 * SQL: a bound on the id at which a period begins in the order of the list, if many runs outside of the period come
 * before it. The list is in order of ids, and the database does not know that lower ids are older. They nearly always
 * are, but not so strictly that one run could be located by its neighbors. `+ 0` keeps the database from scanning all
 * runs for the greatest id.
 */
function idBound(db: Queryable, { sort, createdAfter, createdBefore }: RunListQuery): Condition {
  const isOldest = sort === 'oldest';
  const edge = isOldest ? createdAfter : createdBefore;
  if (edge === undefined) return db``;
  const beyond = isOldest
    ? db`x.created_at < ${edge} order by x.created_at`
    : db`x.created_at >= ${edge} order by x.created_at desc`;
  const within = [
    ...(createdAfter === undefined ? [] : [db`x.created_at >= ${createdAfter}`]),
    ...(createdBefore === undefined ? [] : [db`x.created_at < ${createdBefore}`]),
  ].reduce((both, one) => db`${both} and ${one}`);
  const number = (which: Condition) =>
    db`(select count(*) from (select from job_runs x where ${which} limit ${fewBeyond}) counted)`;
  return db`and r.id ${isOldest ? db`>=` : db`<=`} (select case
    when ${number(within)} = ${fewBeyond} and ${number(beyond)} < ${fewBeyond}
      then ${isOldest ? 0 : Number.MAX_SAFE_INTEGER}::bigint
    else (select ${isOldest ? db`min` : db`max`}(x.id + 0) from job_runs x where ${within}) end)`;
}

/** Returns the id of the user that the filter of a list names. */
export async function findStarter(db: Queryable, name: string): Promise<number | undefined> {
  const [row] = await db<{ id: number }[]>`select id from users where lower(name) = lower(${name}) limit 1`;
  return row?.id;
}

/** Counts the matching runs; `most` stands for that many or more. */
export async function countRuns(db: Queryable, filter: RunFilter, most: number): Promise<number> {
  const fitting = fittingRuns(db, filter, (condition) => {
    return db`(select r.id from job_runs r join jobs j on j.id = r.job_id where ${condition} limit ${most})`;
  });
  const [row] = await unprepared(db<{ count: number }[]>`
    ${fitting.first} select count(*)::int as count from (
      select from (${fitting.ids}) fitting limit ${most}) counted`);
  return row?.count ?? 0;
}

/**
 * If a reader sees at most this many target runs by segment or target group, the runs of these are examined instead of
 * all runs.
 */
const fewTargetRuns = 20_000;

/**
 * SQL: the ids of runs that match and may be seen, as a union of conditions of which a run matches at most one. So each
 * can be read by its own index and in the order of the list. `first` goes before the whole statement.
 */
function fittingRuns(db: Queryable, filter: RunFilter, select: (condition: Condition) => Condition) {
  const { reaches, statuses, partStatuses } = filter;
  const also = fits(db, filter);
  const whole = (within: Condition) =>
    statuses === undefined
      ? [db`${within} and ${also}`]
      : [...new Set(statuses)].map((status) => db`r.status = ${status} and ${within} and ${also}`);
  if (reachesEverything(reaches)) return { first: db``, ids: union(db, whole(db`true`).map(select)) };
  const inStatus =
    partStatuses === undefined ? db`true` : db`tr.status = any(${partStatuses as string[]}::text[])`;
  const part = db`not ${jobWithin(db, reaches)} and exists (select from job_run_targets tr where tr.job_run_id = r.id
    and ${inStatus} and ${targetRunWithin(db, reaches)}) and ${also}`;
  const seesJobs = reaches.every(({ everywhere, categoryIds }) => everywhere || categoryIds.length > 0);
  const branches = seesJobs ? whole(jobWithin(db, reaches)) : [];
  const onTargets = targetRunOnTargets(db, reaches);
  if (onTargets === undefined) return { first: db``, ids: union(db, [...branches, part].map(select)) };
  const mine = (within: Condition) =>
    db`(select tr.job_run_id from job_run_targets tr where ${within} limit ${fewTargetRuns + 1})`;
  return {
    first: db`with mine as materialized (${union(db, onTargets.map(mine))}),
      few as materialized (select count(*) <= ${fewTargetRuns} as so from mine)`,
    ids: union(
      db,
      [
        ...branches,
        db`(select so from few) and r.id = any(array(select job_run_id from mine)) and ${part}`,
        db`not (select so from few) and ${part}`,
      ].map(select),
    ),
  };
}

function union(db: Queryable, selects: readonly Condition[]): Condition {
  return selects.reduce((all, one) => db`${all} union all ${one}`);
}

/** SQL condition on the aliases `r` and `j`. */
function fits(db: Queryable, filter: RunFilter): Condition {
  const { jobId, targetId, category, search, createdBy, target, version, createdAfter, createdBefore } =
    filter;
  const onTarget = (which: Condition) => db`exists (select from job_run_targets t
    where t.job_run_id = r.id and ${which} and ${targetRunWithin(db, filter.reaches, 't')})`;
  const conditions: Condition[] = [db`true`];
  if (jobId !== undefined) conditions.push(db`r.job_id = ${jobId}`);
  if (targetId !== undefined) conditions.push(onTarget(db`t.target_id = ${targetId}`));
  if (target !== undefined) {
    conditions.push(onTarget(db`t.target_name ilike ${containsPattern(target)}`));
  }
  if (category !== undefined) {
    conditions.push(db`j.category_id = any(array(select below.id from categories below
      where (select top.id from categories top where top.name = ${category}) = any(below.ancestor_ids)))`);
  }
  if (search !== undefined) conditions.push(db`lower(j.name) like lower(${containsPattern(search)}::text)`);
  if (createdBy !== undefined) conditions.push(db`r.created_by = ${createdBy}`);
  if (version !== undefined) {
    conditions.push(
      /^\d{1,9}$/.test(version) ? db`r.job_version = ${Number(version)}` : db`r.version_ref = ${version}`,
    );
  }
  if (createdAfter !== undefined) conditions.push(db`r.created_at >= ${createdAfter}`);
  if (createdBefore !== undefined) conditions.push(db`r.created_at < ${createdBefore}`);
  return conditions.reduce((both, one) => db`${both} and ${one}`);
}

export interface TargetRunRecord {
  id: number;
  targetId: number | null;
  targetName: string;
  segmentId: number;
  segmentName: string;
  status: RunStatus;
  startedAt: Date | null;
  completedAt: Date | null;
  endReason: string | null;
}

export async function listTargetRuns(
  db: Queryable,
  filter: { runId: number; above: number; limit: number; ids?: readonly number[] | undefined },
  reaches: readonly Reach[],
): Promise<TargetRunRecord[]> {
  return db<TargetRunRecord[]>`
    select t.id, x.id as target_id, t.target_name, t.segment_id, g.name as segment_name, t.status, t.started_at, t.completed_at,
      t.end_reason
    from job_run_targets t
    left join targets x on x.id = t.target_id
    join segments g on g.id = t.segment_id
    join job_runs r on r.id = t.job_run_id
    join jobs j on j.id = r.job_id
    where t.job_run_id = ${filter.runId} and t.id > ${filter.above} and ${targetRunWithin(db, reaches, 't')}
      ${filter.ids === undefined ? db`` : db`and t.id = any(${filter.ids as number[]}::bigint[])`}
    order by t.id limit ${filter.limit}`;
}

export interface StepRecord {
  id: number;
  targetRunId: number;
  stepNumber: number;
  stepType: string;
  status: string;
  epoch: number;
  agentName: string | null;
  leasedAt: Date | null;
  startedAt: Date | null;
  completedAt: Date | null;
  executionTimeMs: number | null;
  cpuMs: number | null;
  peakMemoryBytes: number | null;
  exitCode: number | null;
  signal: string | null;
  reason: string | null;
  errorMessage: string | null;
  advice: string | null;
  survivors: { pid: number; command: string }[] | null;
  detections: Detections | null;
  notBefore: Date | null;
  heldUntil: Date | null;
  outputState: OutputState;
  outputBytes: number;
  outputSeq: number;
}

export async function listSteps(db: Queryable, targetRunIds: readonly number[]): Promise<StepRecord[]> {
  return db<StepRecord[]>`
    select st.id, st.target_run_id, st.step_number, st.step_type, st.status, st.epoch, a.name as agent_name,
      st.leased_at, st.started_at, st.completed_at, st.execution_time_ms, st.cpu_ms, st.peak_memory_bytes,
      st.exit_code, st.signal, st.reason,
      st.error_message, st.advice, st.survivors, st.detections, st.output_state, st.output_bytes, st.output_seq,
      case when st.status = 'ready' and isfinite(st.not_before) then st.not_before end as not_before,
      case when st.status = 'held' then st.held_until end as held_until
    from job_run_steps st left join agents a on a.id = st.agent_id
    where st.target_run_id = any(${targetRunIds as number[]}::bigint[])
    order by st.target_run_id, st.step_number`;
}

export interface StepOutputRecord {
  id: number;
  epoch: number;
  attemptDay: string | null;
  outputState: OutputState;
  outputSeq: number;
  outputBytes: number;
  status: string;
  jobId: number;
  dataKey: string;
}

/** Returns what is needed to read a step's output: its current attempt and the run's wrapped data key. */
export async function findStepOutput(
  db: Queryable,
  runId: number,
  stepIds: readonly number[],
  reaches: readonly Reach[],
): Promise<StepOutputRecord[]> {
  return db<StepOutputRecord[]>`
    select st.id, st.epoch, st.attempt_day::text as attempt_day, st.output_state, st.output_seq, st.output_bytes,
      st.status, r.job_id, r.data_key
    from job_run_steps st
    join job_run_targets tr on tr.id = st.target_run_id
    join job_runs r on r.id = st.job_run_id
    join jobs j on j.id = r.job_id
    where st.job_run_id = ${runId} and st.id = any(${stepIds as number[]}::bigint[]) and ${targetRunWithin(db, reaches)}`;
}

/** Returns an earlier attempt, which is settled. */
export async function findAttemptOutput(
  db: Queryable,
  stepId: number,
  epoch: number,
): Promise<
  | {
      attemptDay: string;
      outputState: OutputState;
      outputSeq: number;
      outputRawBytes: number;
      outputGaps: [number, number][] | null;
    }
  | undefined
> {
  const rows = await db<
    {
      attemptDay: string;
      outputState: OutputState;
      outputSeq: number;
      outputRawBytes: number;
      outputGaps: [number, number][] | null;
    }[]
  >`select attempt_day::text as attempt_day, output_state, output_seq, output_raw_bytes, output_gaps
    from job_run_step_attempts where job_run_step_id = ${stepId} and epoch = ${epoch}`;
  return rows[0];
}

export async function stepIdsOfRun(db: Queryable, runId: number, limit: number): Promise<number[]> {
  const rows = await db<{ id: number }[]>`
    select id from job_run_steps where job_run_id = ${runId} order by id limit ${limit}`;
  return rows.map((row) => row.id);
}

export async function markCancelRequested(tx: Tx, runId: number, userId: number): Promise<void> {
  await tx`update job_runs set cancel_requested_at = clock_timestamp(), cancel_requested_by = ${userId} where id = ${runId}`;
}

/** Locks a run's row until the transaction ends. Returns false if there is no such run. */
export async function lockRun(tx: Tx, runId: number): Promise<boolean> {
  const rows = await tx`select 1 from job_runs where id = ${runId} for update`;
  return rows.length > 0;
}

/** Deletes an ended run with everything that belongs to it, output included. */
export async function purgeRun(tx: Tx, runId: number): Promise<void> {
  await deleteOutputOf(tx, [runId]);
  await tx`delete from job_runs where id = ${runId}`;
  await dropDeletedJobs(tx);
}

/**
 * Returns the target runs that ended in one of these ways, in their order, with the first step that did not succeed.
 */
export async function targetsToRerun(
  db: Queryable,
  runId: number,
  statuses: readonly RunStatus[],
): Promise<{ targetId: number | null; targetName: string; failedStep: number }[]> {
  return db<{ targetId: number | null; targetName: string; failedStep: number }[]>`
    select x.id as target_id, t.target_name, coalesce((
      select min(st.step_number) from job_run_steps st
      where st.target_run_id = t.id and st.status in ('failed', 'timed_out', 'unknown', 'cancelled')), 1) as failed_step
    from job_run_targets t left join targets x on x.id = t.target_id
    where t.job_run_id = ${runId} and t.status = any(${statuses as string[]}::text[])
    order by t.id`;
}
