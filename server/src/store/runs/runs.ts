// Reading runs for the API, and the few single-row writes that aren't progress.
import type {
  Detections,
  Lock,
  OutputState,
  RunSelection,
  RunStatus,
  RunStrategy,
  StepStatus,
} from '@opsconductor/protocol';
import type { Reach } from '../../auth/authority.ts';
import type { Queryable, Tx } from '../database/connection.ts';
import { dropDeletedJobs } from '../jobs/jobs.ts';
import { jobWithin, runWithin, targetRunWithin, unrestricted, wholeRunWithin } from '../people/visibility.ts';
import type { RunCounts } from './run-counts.ts';
import { deleteOutputOf } from './run-output.ts';

export interface RunRecord extends RunCounts {
  id: number;
  jobId: number;
  jobName: string;
  categoryId: number;
  category: string;
  jobVersion: number;
  status: RunStatus;
  maxFailures: number;
  outputState: OutputState;
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
  isJobDeleted: boolean;
  isTrial: boolean;
  /** Whether it was signed. */
  isSigned: boolean;
  versionRef: string | null;
  reason: string | null;
  /** Read only for a single run. */
  reruns?: number[];
}

const maxReruns = 100;

/** SQL: how long run `r` took, in ms; null if it never began, for which earlier versions wrote 0. */
export function executionTimeMs(db: Queryable) {
  return db`case when r.started_at is not null then r.execution_time_ms end`;
}

/** SQL: the columns of `RunRecord` and where they are from, to be followed by a condition on the alias `r`. */
export function runColumns(db: Queryable, more = db``) {
  return db`r.id, r.job_id, j.name as job_name, j.category_id, k.name as category, r.job_version, r.status, r.max_failures,
    r.output_state, r.targets_total,
    r.targets_running, r.targets_held, r.late_results, r.targets_succeeded, r.targets_failed, r.targets_cancelled, r.targets_timed_out,
    r.targets_unknown, r.total_steps, r.completed_steps, r.failed_steps, u.name as created_by, r.created_at,
    r.start_by, r.started_at, r.completed_at, ${executionTimeMs(db)} as execution_time_ms, r.error_message, r.cancel_requested_at,
    c.name as cancel_requested_by, r.event_seq, v.step_names, v.step_types, r.selection, r.priority, r.timeout_s, r.stop_reason, r.locks,
    r.strategy, r.targets_opened, r.batch_number, r.batch_end, r.halted_reason, r.rerun_of, r.is_trial, j.deleted_at is not null as is_job_deleted, r.version_ref, r.reason,
    r.signed_grant is not null as is_signed ${more}
  from job_runs r
  join jobs j on j.id = r.job_id
  join categories k on k.id = j.category_id
  join job_versions v on v.job_id = r.job_id and v.version = r.job_version
  left join users u on u.id = r.created_by
  left join users c on c.id = r.cancel_requested_by`;
}

/** Returns a run as a whole, regardless of who asks. */
export function findRun(db: Queryable, id: number): Promise<RunRecord | undefined> {
  return findRunWithin(db, id, unrestricted);
}

/**
 * Returns a run as a whole if its job or one of its target runs lies within the reaches. For what a caller may see of it,
 * use runs/view/seen-run.ts. One statement, which counts nothing of a run that may not be seen: how long its 404 takes
 * would tell that it exists. It still does of a run of thousands of hosts, by a millisecond in which none is found.
 */
export async function findRunWithin(
  db: Queryable,
  id: number,
  reaches: readonly Reach[],
): Promise<RunRecord | undefined> {
  const reruns = db`, array(select again.id from job_runs again where again.rerun_of = r.id
    order by again.id desc limit ${maxReruns}) as reruns`;
  const rows = await db<RunRecord[]>`select ${runColumns(db, reruns)} where r.id = ${id}
    and (${jobWithin(db, reaches)} or ${runWithin(db, reaches)})`;
  return rows[0];
}

/** Returns what a stream needs to know at the end of a run. */
export async function findRunEnd(
  db: Queryable,
  id: number,
): Promise<Pick<RunRecord, 'status' | 'eventSeq'> | undefined> {
  const rows = await db<Pick<RunRecord, 'status' | 'eventSeq'>[]>`
    select status, event_seq from job_runs where id = ${id}`;
  return rows[0];
}

/** Whether the whole run lies within the reaches. */
export async function isRunWithin(db: Queryable, id: number, reaches: readonly Reach[]): Promise<boolean> {
  const rows = await db`
    select from job_runs r join jobs j on j.id = r.job_id where r.id = ${id} and ${wholeRunWithin(db, reaches)}`;
  return rows.length > 0;
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
  /** When it was cancelled by itself. */
  cancelRequestedAt: Date | null;
  cancelRequestedBy: string | null;
}

/**
 * Returns the target runs of a run above an id, in the order of ids, of those within the reaches; `ids` narrows them.
 */
export async function listTargetRuns(
  db: Queryable,
  filter: { runId: number; above: number; limit: number; ids?: readonly number[] | undefined },
  reaches: readonly Reach[],
): Promise<TargetRunRecord[]> {
  return db<TargetRunRecord[]>`
    select t.id, x.id as target_id, t.target_name, t.segment_id, g.name as segment_name, t.status, t.started_at, t.completed_at,
      t.end_reason, t.cancel_requested_at, u.name as cancel_requested_by
    from job_run_targets t
    left join targets x on x.id = t.target_id
    join segments g on g.id = t.segment_id
    join job_runs r on r.id = t.job_run_id
    join jobs j on j.id = r.job_id
    left join users u on u.id = t.cancel_requested_by
    where t.job_run_id = ${filter.runId} and t.id > ${filter.above} and ${targetRunWithin(db, reaches, 't')}
      ${filter.ids === undefined ? db`` : db`and t.id = any(${filter.ids as number[]}::bigint[])`}
    order by t.id limit ${filter.limit}`;
}

export interface StepRecord {
  id: number;
  targetRunId: number;
  stepNumber: number;
  stepType: string;
  status: StepStatus;
  epoch: number;
  unbegun: number;
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

/** Returns the steps of target runs, by target run and then in their order. */
export async function listSteps(db: Queryable, targetRunIds: readonly number[]): Promise<StepRecord[]> {
  return db<StepRecord[]>`
    select st.id, st.target_run_id, st.step_number, st.step_type, st.status, st.epoch, st.unbegun, a.name as agent_name,
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

/** Returns the lowest ids of the steps of a run. */
export async function stepIdsOfRun(db: Queryable, runId: number, limit: number): Promise<number[]> {
  const rows = await db<{ id: number }[]>`
    select id from job_run_steps where job_run_id = ${runId} order by id limit ${limit}`;
  return rows.map((row) => row.id);
}

/** @param at the time with which everything is dated that the cancel ends. */
export async function markCancelRequested(tx: Tx, runId: number, userId: number, at: Date): Promise<void> {
  await tx`update job_runs set cancel_requested_at = ${at}, cancel_requested_by = ${userId} where id = ${runId}`;
}

/** Records that a target run was cancelled by itself, and returns when. */
export async function markTargetRunCancelRequested(
  tx: Tx,
  targetRunId: number,
  userId: number,
): Promise<Date> {
  const [row] = await tx<[{ at: Date }]>`
    update job_run_targets set cancel_requested_at = clock_timestamp(), cancel_requested_by = ${userId}
    where id = ${targetRunId} returning cancel_requested_at as at`;
  return row.at;
}

/** Says why a target run ended, unless a step of it has begun or is leased. */
export async function giveEndReason(tx: Tx, targetRunId: number, endReason: string): Promise<void> {
  await tx`
    update job_run_targets set end_reason = ${endReason}
    where id = ${targetRunId} and not exists (
      select from job_run_steps s where s.target_run_id = ${targetRunId} and s.epoch > s.unbegun)`;
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
