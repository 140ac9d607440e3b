// The rows that the progress of runs reads and writes. Lock order everywhere: runs, then target runs, then steps, each
// by id.
import type { Detections, OutputState, RunStatus, RunStrategy, StepStatus } from '@opsconductor/protocol';
import type { StepRules } from '../../jobs/definition/step-rules.ts';
import type { Tx } from '../database/connection.ts';
import { attemptSlackS } from '../queue/claims.ts';

export interface RunRow {
  id: number;
  status: RunStatus;
  maxFailures: number;
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
  outputState: OutputState;
  eventSeq: number;
  startedAt: Date | null;
  completedAt: Date | null;
  errorMessage: string | null;
  priority: number;
  strategy: RunStrategy | null;
  /** How many target runs may have started; `null` without a strategy. */
  targetsOpened: number | null;
  batchNumber: number | null;
  batchEnd: number | null;
  batchFailures: number | null;
  haltedAt: Date | null;
  haltedReason: string | null;
  stopReason: 'run_timeout' | null;
  now: Date;
  /** Rules of its steps, indexed by step number minus one; `null` if no step has rules of its own. */
  stepRules: StepRules[] | null;
}

export interface TargetRunRow {
  id: number;
  jobRunId: number;
  targetId: number | null;
  segmentId: number;
  targetName: string;
  status: RunStatus;
  /** Status of the step that failed first, while later steps are still to run. */
  firstFailure: RunStatus | null;
  startedAt: Date | null;
  completedAt: Date | null;
}

export interface StepRow {
  id: number;
  jobRunId: number;
  targetRunId: number;
  segmentId: number;
  stepNumber: number;
  stepType: string;
  status: StepStatus;
  epoch: number;
  leaseToken: string | null;
  agentId: number | null;
  sessionNumber: number | null;
  attemptDay: string | null;
  leasedAt: Date | null;
  startedAt: Date | null;
  outputSeq: number;
  outputBytes: number;
  outputState: OutputState;
  heldUntil: Date | null;
  isCleanUp: boolean;
  reason: string | null;
  errorMessage: string | null;
  /** What an agent must be capable of; `null` for nothing. */
  needs: string[] | null;
}

/** Runs, given by their own ids or by ids of some of their steps. */
export type RunsOf = { runIds: readonly number[] } | { stepIds: readonly number[] };

/**
 * Locks the runs until the transaction ends. `now` is the database's clock once the locks are held; everything that the
 * transaction writes gets this time.
 */
export async function lockRuns(tx: Tx, runs: RunsOf): Promise<RunRow[]> {
  const named =
    'runIds' in runs
      ? tx`${runs.runIds as number[]}::bigint[]`
      : tx`array(select job_run_id from job_run_steps where id = any(${runs.stepIds as number[]}::bigint[]))`;
  return tx<RunRow[]>`
    with locked as materialized (
      select id, job_id, job_version, status, max_failures, targets_total, targets_running, targets_held,
        targets_succeeded, targets_failed, targets_cancelled, targets_timed_out, targets_unknown, total_steps,
        completed_steps, failed_steps, late_results, output_state, event_seq, started_at, completed_at, error_message,
        priority, strategy, targets_opened, batch_number, batch_end, batch_failures, halted_at, halted_reason,
        stop_reason
      from job_runs where id = any(${named}) order by id for update)
    select locked.*, v.step_rules, clock_timestamp() as now
    from locked join job_versions v on v.job_id = locked.job_id and v.version = locked.job_version`;
}

/**
 * Ids to give in addition to a join with rows of parameters, so that the database finds the other rows by their keys.
 * It assumes that such a join has a hundred rows, for which it would read a small table whole, with a plan that it
 * keeps while the table grows.
 */
const idsOf = (rows: readonly { id: number }[]): number[] => rows.map(({ id }) => id);

/** Locks and returns the target runs of these steps. */
export async function lockTargetRuns(tx: Tx, stepIds: readonly number[]): Promise<TargetRunRow[]> {
  return tx<TargetRunRow[]>`
    select id, job_run_id, target_id, segment_id, target_name, status, first_failure, started_at, completed_at
    from job_run_targets
    where id = any(array(select target_run_id from job_run_steps where id = any(${stepIds as number[]}::bigint[])))
    order by id for update`;
}

/** Locks and returns the target runs of a run that have not ended. */
export async function lockOpenTargetRuns(tx: Tx, runId: number): Promise<TargetRunRow[]> {
  return tx<TargetRunRow[]>`
    select id, job_run_id, target_id, segment_id, target_name, status, first_failure, started_at, completed_at
    from job_run_targets where job_run_id = ${runId} and status in ('queued', 'running', 'cancelling', 'held')
    order by id for update`;
}

/**
 * Locks and returns the given steps and the step that follows each. They are found by keys alone; an OR would read the
 * whole table.
 */
export async function lockStepsAndNext(tx: Tx, ids: readonly number[]): Promise<StepRow[]> {
  return tx<StepRow[]>`
    with asked as materialized (
      select id, target_run_id, step_number from job_run_steps where id = any(${ids as number[]}::bigint[])
    ), following as materialized (
      select next.id from asked cross join lateral (
        select n.id from job_run_steps n
        where n.target_run_id = asked.target_run_id and n.step_number = asked.step_number + 1 offset 0) next
    )
    select st.id, st.job_run_id, st.target_run_id, st.segment_id, st.step_number, st.step_type, st.status, st.epoch,
      st.lease_token, st.agent_id, st.session_number, st.attempt_day::text as attempt_day, st.leased_at,
      st.started_at, st.output_seq, st.output_bytes, st.output_state, st.held_until, st.is_clean_up, st.reason, st.error_message, st.needs
    from job_run_steps st
    where st.id = any(array(select id from asked union all select id from following))
    order by st.id for update`;
}

export interface WaitingStep {
  id: number;
  jobRunId: number;
  targetRunId: number;
  segmentId: number;
  stepNumber: number;
  stepType: string;
  status: StepStatus;
  epoch: number;
  isCleanUp: boolean;
  reason: string | null;
  needs: string[] | null;
}

/** Locks the steps of a run that wait for a lease or for their turn. There may be a million, so none is returned. */
export async function lockWaitingSteps(tx: Tx, runId: number): Promise<void> {
  await tx`
    select count(*) from (
      select from job_run_steps where job_run_id = ${runId} and status in ('pending', 'ready')
      order by id for update) locked`;
}

/** Returns the steps of these target runs that wait for a lease or for their turn. */
export async function waitingStepsOf(tx: Tx, targetRunIds: readonly number[]): Promise<WaitingStep[]> {
  if (targetRunIds.length === 0) return [];
  return tx<WaitingStep[]>`
    select id, job_run_id, target_run_id, segment_id, step_number, step_type, status, epoch, is_clean_up,
      reason, needs
    from job_run_steps
    where target_run_id = any(${targetRunIds as number[]}::bigint[]) and status in ('pending', 'ready') order by id`;
}

/**
 * Locks and returns the steps of these target runs that wait for their turn, or were closed without having run, in
 * order.
 */
export async function lockUnrunSteps(tx: Tx, targetRunIds: readonly number[]): Promise<WaitingStep[]> {
  if (targetRunIds.length === 0) return [];
  return tx<WaitingStep[]>`
    select id, job_run_id, target_run_id, segment_id, step_number, step_type, status, epoch, is_clean_up,
      reason, needs
    from job_run_steps
    where target_run_id = any(${targetRunIds as number[]}::bigint[]) and status in ('pending', 'skipped', 'cancelled')
    order by id for update`;
}

/** Returns the steps of a run that are leased or held. */
export async function openStepsOf(
  tx: Tx,
  runId: number,
): Promise<{ id: number; targetRunId: number; status: StepStatus }[]> {
  return tx<{ id: number; targetRunId: number; status: StepStatus }[]>`
    select id, target_run_id, status from job_run_steps
    where job_run_id = ${runId} and status in ('running', 'held') order by id`;
}

export interface SettledStep {
  id: number;
  status: StepStatus;
  exitCode: number | null;
  signal: string | null;
  reason: string | null;
  errorMessage: string | null;
  advice: string | null;
  survivors: unknown;
  detections: Detections | null;
  executionTimeMs: number | null;
  cpuMs: number | null;
  peakMemoryBytes: number | null;
  outputState: OutputState;
  startedAt: Date | null;
  /** For a held step only. */
  heldForS: number | null;
}

/** Writes steps that end or are held, with the results of their attempts. */
export async function writeSettledSteps(tx: Tx, steps: readonly SettledStep[], now: Date): Promise<void> {
  if (steps.length === 0) return;
  await tx`
    update job_run_steps st set status = c.status, exit_code = c."exitCode", signal = c.signal, reason = c.reason,
      error_message = c."errorMessage", advice = c.advice, survivors = c.survivors, detections = c.detections,
      execution_time_ms = c."executionTimeMs", cpu_ms = c."cpuMs", peak_memory_bytes = c."peakMemoryBytes",
      output_state = c."outputState", started_at = c."startedAt",
      completed_at = case when c.status = 'held' then null else ${now}::timestamptz end,
      held_until = ${now}::timestamptz + make_interval(secs => c."heldForS")
    from jsonb_to_recordset(${tx.json(steps as never)}::jsonb) as c(
      id bigint, status text, "exitCode" bigint, signal text, reason text, "errorMessage" text, advice text,
      survivors jsonb, detections jsonb, "executionTimeMs" bigint, "cpuMs" bigint, "peakMemoryBytes" bigint, "outputState" text, "startedAt" timestamptz,
      "heldForS" double precision)
    where st.id = c.id and st.id = any(${idsOf(steps)}::bigint[])`;
}

/** Makes steps ready for a retry, `inS` seconds from now at the earliest. */
export async function writeRetries(
  tx: Tx,
  retries: readonly { id: number; inS: number; advice: string }[],
  now: Date,
): Promise<void> {
  if (retries.length === 0) return;
  await tx`
    update job_run_steps st set status = 'ready', waits_since = ${now}::timestamptz + make_interval(secs => c."inS"),
      not_before = case when c."inS" > 0 then ${now}::timestamptz + make_interval(secs => c."inS") end,
      advice = c.advice, agent_id = null, session_number = null, lease_token = null, leased_at = null,
      started_at = null, deadline_at = null, completed_at = null, held_until = null, exit_code = null, signal = null,
      reason = null, error_message = null, survivors = null, detections = null, execution_time_ms = null, cpu_ms = null,
      peak_memory_bytes = null, output_state = 'complete'
    from jsonb_to_recordset(${tx.json(retries as never)}::jsonb) as c(id bigint, "inS" double precision, advice text)
    where st.id = c.id and st.id = any(${idsOf(retries)}::bigint[])`;
}

/** Returns the worst output state among each run's steps. */
export async function worstOutputStates(
  tx: Tx,
  runIds: readonly number[],
): Promise<{ jobRunId: number; outputState: OutputState }[]> {
  if (runIds.length === 0) return [];
  return tx<{ jobRunId: number; outputState: OutputState }[]>`
    select job_run_id, case when bool_or(output_state = 'gapped') then 'gapped'
      when bool_or(output_state = 'truncated') then 'truncated' else 'complete' end as output_state
    from job_run_steps where job_run_id = any(${runIds as number[]}::bigint[]) group by job_run_id`;
}

export interface NextLease {
  id: number;
  epoch: number;
  attemptDay: string;
  leaseToken: string;
  agentId: number;
  sessionNumber: number;
}

/** Leases the steps that follow completed ones to the same agents. */
export async function writeNextLeases(tx: Tx, leases: readonly NextLease[], now: Date): Promise<void> {
  if (leases.length === 0) return;
  await tx`
    update job_run_steps st set status = 'running', epoch = c.epoch, lease_token = c."leaseToken",
      agent_id = c."agentId", session_number = c."sessionNumber", leased_at = ${now}, started_at = null,
      cancel_sent_at = null, attempt_day = c."attemptDay",
      deadline_at = ${now}::timestamptz + make_interval(secs => st.time_budget_s + ${attemptSlackS}),
      output_state = 'open', output_seq = 0, output_bytes = 0
    from jsonb_to_recordset(${tx.json(leases as never)}::jsonb) as c(
      id bigint, epoch integer, "leaseToken" text, "agentId" bigint, "sessionNumber" bigint, "attemptDay" date)
    where st.id = c.id and st.id = any(${idsOf(leases)}::bigint[])`;
}

/** Makes steps ready whose turn has come. Clean-up steps are not stopped when their run is cancelled. */
export async function makeReady(tx: Tx, steps: readonly { id: number; isCleanUp: boolean }[]): Promise<void> {
  if (steps.length === 0) return;
  await tx`
    update job_run_steps st set status = 'ready', waits_since = clock_timestamp(), completed_at = null,
      output_state = 'complete', is_clean_up = c."isCleanUp"
    from jsonb_to_recordset(${tx.json(steps as never)}::jsonb) as c(id bigint, "isCleanUp" boolean)
    where st.id = c.id and st.id = any(${idsOf(steps)}::bigint[])`;
}

/** Makes steps that were skipped after an unknown one wait for their turn again. */
export async function reviveSkipped(tx: Tx, ids: readonly number[]): Promise<void> {
  if (ids.length === 0) return;
  await tx`
    update job_run_steps set status = 'pending', completed_at = null, reason = null
    where id = any(${ids as number[]}::bigint[]) and status = 'skipped'`;
}

/** Ends steps that never ran. */
export async function closeSteps(
  tx: Tx,
  steps: readonly { id: number; status: 'skipped' | 'cancelled' | 'timed_out'; reason: string | null }[],
): Promise<void> {
  if (steps.length === 0) return;
  await tx`
    update job_run_steps st set status = c.status, completed_at = clock_timestamp(), reason = c.reason,
      output_state = 'complete'
    from jsonb_to_recordset(${tx.json(steps as never)}::jsonb) as c(id bigint, status text, reason text)
    where st.id = c.id and st.id = any(${idsOf(steps)}::bigint[])`;
}

/** Puts back leases that were never begun: the steps are ready again and keep their epochs. */
export async function returnToReady(tx: Tx, ids: readonly number[], inS = 0): Promise<void> {
  if (ids.length === 0) return;
  await tx`
    update job_run_steps set status = 'ready', agent_id = null, session_number = null, lease_token = null,
      leased_at = null, started_at = null, deadline_at = null, output_state = 'complete',
      not_before = case when ${inS}::int > 0 then clock_timestamp() + make_interval(secs => ${inS}::int) end
    where id = any(${ids as number[]}::bigint[]) and status = 'running'`;
}

/** Gives the status to all steps of these target runs that still wait, and returns them. */
export async function closeWaitingSteps(
  tx: Tx,
  targetRunIds: readonly number[],
  status: 'skipped' | 'cancelled' | 'timed_out',
): Promise<{ id: number; jobRunId: number }[]> {
  if (targetRunIds.length === 0) return [];
  return tx<{ id: number; jobRunId: number }[]>`
    update job_run_steps set status = ${status}, completed_at = clock_timestamp(),
      reason = ${status === 'skipped' ? 'predecessor' : null}, output_state = 'complete'
    where target_run_id = any(${targetRunIds as number[]}::bigint[]) and status in ('pending', 'ready')
    returning id, job_run_id`;
}

/**
 * Does the same for any number of steps of one run. If there are at most `stepsEach`, their ids are returned, so that
 * the caller can write the event. If there are more, none is returned: the database itself writes the run's events,
 * each with at most `stepsEach` steps, numbered above `afterSeq` and including `change`, so that the steps are never in
 * memory.
 */
export async function closeAllWaiting(
  tx: Tx,
  { runId, targetRunIds }: { runId: number; targetRunIds: readonly number[] },
  end: { status: 'cancelled' | 'timed_out'; reason: string | null; message: string | null },
  tell: { stepsEach: number; afterSeq: number; at: Date; change: object },
): Promise<{ steps: number; events: number; ids: number[] }> {
  if (targetRunIds.length === 0) return { steps: 0, events: 0, ids: [] };
  const each = { status: end.status, ...(end.reason === null ? {} : { reason: end.reason }) };
  const [row] = await tx<{ steps: number; events: number; ids: number[] }[]>`
    with closed as materialized (
      update job_run_steps set status = ${end.status}, completed_at = clock_timestamp(), output_state = 'complete',
        reason = ${end.reason}, error_message = coalesce(${end.message}, error_message)
      where target_run_id = any(${targetRunIds as number[]}::bigint[]) and status in ('pending', 'ready')
      returning id
    ), many as (
      select id, (row_number() over (order by id) - 1) / ${tell.stepsEach}::int as part
      from closed where (select count(*) from closed) > ${tell.stepsEach}::int
    ), told as (
      insert into run_events (job_run_id, seq, at, change)
      select ${runId}::bigint, ${tell.afterSeq}::bigint + 1 + part, ${tell.at}::timestamptz,
        ${tx.json(tell.change as never)}::jsonb
        || jsonb_build_object('steps', jsonb_agg(${tx.json(each)}::jsonb || jsonb_build_object('id', id) order by id))
      from many group by part
      returning seq
    )
    select (select count(*) from closed)::int as steps, (select count(*) from told)::int as events,
      array(select id from closed where (select count(*) from closed) <= ${tell.stepsEach}::int order by id) as ids`;
  return row ?? { steps: 0, events: 0, ids: [] };
}

export async function writeTargetRuns(
  tx: Tx,
  rows: readonly Pick<TargetRunRow, 'id' | 'status' | 'firstFailure' | 'startedAt' | 'completedAt'>[],
): Promise<void> {
  if (rows.length === 0) return;
  await tx`
    update job_run_targets t set status = c.status, first_failure = c."firstFailure", started_at = c."startedAt",
      completed_at = c."completedAt"
    from jsonb_to_recordset(${tx.json(rows as never)}::jsonb) as c(
      id bigint, status text, "firstFailure" text, "startedAt" timestamptz, "completedAt" timestamptz)
    where t.id = c.id and t.id = any(${idsOf(rows)}::bigint[])`;
}

/** Writes counters and status of locked runs, with the number of the event that reports them. */
export async function writeRuns(
  tx: Tx,
  runs: readonly (Omit<RunRow, 'stepRules'> & { executionTimeMs: number | null })[],
): Promise<void> {
  if (runs.length === 0) return;
  await tx`
    update job_runs r set status = c.status, targets_running = c."targetsRunning",
      targets_held = c."targetsHeld", late_results = c."lateResults",
      targets_succeeded = c."targetsSucceeded", targets_failed = c."targetsFailed",
      targets_cancelled = c."targetsCancelled", targets_timed_out = c."targetsTimedOut",
      targets_unknown = c."targetsUnknown", completed_steps = c."completedSteps", failed_steps = c."failedSteps",
      output_state = c."outputState", error_message = c."errorMessage", event_seq = c."eventSeq",
      started_at = c."startedAt", completed_at = c."completedAt", execution_time_ms = c."executionTimeMs"
    from jsonb_to_recordset(${tx.json(runs as never)}::jsonb) as c(
      id bigint, status text, "targetsRunning" integer, "targetsHeld" integer, "lateResults" integer, "targetsSucceeded" integer, "targetsFailed" integer,
      "targetsCancelled" integer, "targetsTimedOut" integer, "targetsUnknown" integer, "completedSteps" integer,
      "failedSteps" integer, "outputState" text, "errorMessage" text, "eventSeq" bigint, "startedAt" timestamptz,
      "completedAt" timestamptz, "executionTimeMs" bigint)
    where r.id = c.id and r.id = any(${idsOf(runs)}::bigint[])`;
}

/** PostgreSQL allows 8,000 bytes in a notification; one item of each kind takes at most 35. */
const maxNewsPerNotice = 100;

/** Wakes every server: these runs have new events, these segments have ready steps, these runs are to be cancelled. */
export async function notifyProgress(
  tx: Tx,
  news: {
    runs?: readonly { id: number; seq: number }[];
    segments?: readonly number[];
    cancel?: readonly number[];
  },
): Promise<void> {
  const { runs = [], segments = [], cancel = [] } = news;
  const longest = Math.max(runs.length, segments.length, cancel.length);
  const payloads: string[] = [];
  for (let at = 0; at < longest; at += maxNewsPerNotice) {
    const end = at + maxNewsPerNotice;
    payloads.push(
      JSON.stringify({
        r: runs.slice(at, end).map((run) => `${run.id}.${run.seq}`),
        s: segments.slice(at, end),
        c: cancel.slice(at, end),
      }),
    );
  }
  await Promise.all(payloads.map((payload) => tx`select pg_notify('opsc_progress', ${payload})`));
}

/**
 * Counts a command on the SSH connection that carried it. Agents choose the names of connections, so several may share
 * a name; a run has one row per name.
 */
export async function recordSshContexts(
  tx: Tx,
  contexts: readonly {
    jobRunId: number;
    targetId: number | null;
    agentId: number;
    sessionId: string;
    establishedAt: string;
    files: number;
    bytes: number;
  }[],
): Promise<void> {
  if (contexts.length === 0) return;
  await tx`
    insert into ssh_execution_context (job_run_id, target_id, session_id, agent_id, connection_established_at,
      commands_executed, files_transferred, total_bytes_transferred)
    select c."jobRunId", max(c."targetId"), c."sessionId", max(c."agentId"), max(c."establishedAt"), count(*),
      least(sum(c.files), 2147483647), least(sum(c.bytes), 9007199254740991)
    from jsonb_to_recordset(${tx.json(contexts as never)}::jsonb) as c(
      "jobRunId" bigint, "targetId" bigint, "sessionId" text, "agentId" bigint, "establishedAt" timestamptz, files bigint, bytes bigint)
    group by c."jobRunId", c."sessionId"
    on conflict (job_run_id, session_id) do update set
      commands_executed = ssh_execution_context.commands_executed + excluded.commands_executed,
      files_transferred = least(ssh_execution_context.files_transferred::bigint + excluded.files_transferred, 2147483647),
      total_bytes_transferred = least(
        ssh_execution_context.total_bytes_transferred + excluded.total_bytes_transferred, 9007199254740991)`;
}

/** Returns those of these leases that are live. */
export async function liveLeases(
  tx: Tx,
  leases: readonly { id: number; epoch: number }[],
): Promise<
  { id: number; epoch: number; jobRunId: number; targetRunId: number; agentName: string; leasedAt: Date }[]
> {
  const asked = leases.map((lease) => ({ id: lease.id, epoch: lease.epoch }));
  return tx`
    select st.id, st.epoch, st.job_run_id, st.target_run_id, a.name as agent_name, st.leased_at
    from jsonb_to_recordset(${tx.json(asked as never)}::jsonb) as c(id bigint, epoch integer)
    join job_run_steps st on st.id = c.id and st.epoch = c.epoch and st.status = 'running'
      and st.id = any(${idsOf(leases)}::bigint[])
    join agents a on a.id = st.agent_id`;
}
