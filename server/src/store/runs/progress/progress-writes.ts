// Writes what the progress of runs decides about steps, target runs and runs that the transaction has locked
// (`progress-rows.ts`).
import type { Detections, OutputState, StepStatus } from '@opsconductor/protocol';
import type { Tx } from '../../database/connection.ts';
import { attemptSlackS } from '../../queue/claims/claims.ts';
import { idsOf, type RunRow, type TargetRunRow } from './progress-rows.ts';

export interface SettledStep {
  id: number;
  status: StepStatus;
  exitCode: number | null;
  signal: string | null;
  reason: string | null;
  errorMessage: string | null;
  advice: string | null;
  survivors: { pid: number; command: string }[] | null;
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

/** Ends steps that never ran, including those that were leased ahead of their turn. */
export async function closeSteps(
  tx: Tx,
  steps: readonly { id: number; status: 'skipped' | 'cancelled' | 'timed_out'; reason: string | null }[],
): Promise<void> {
  if (steps.length === 0) return;
  await tx`
    update job_run_steps st set status = c.status, completed_at = clock_timestamp(), reason = c.reason,
      output_state = 'complete', agent_id = null, session_number = null, lease_token = null, leased_at = null,
      deadline_at = null, unbegun = st.unbegun + (st.status = 'running')::integer
    from jsonb_to_recordset(${tx.json(steps as never)}::jsonb) as c(id bigint, status text, reason text)
    where st.id = c.id and st.id = any(${idsOf(steps)}::bigint[])`;
}

/**
 * Puts back leases that were never begun. The steps keep their epochs and are ready again; those that were leased ahead
 * of their turn are pending (the database's trigger `job_run_steps_back`). Returns what each is now.
 */
export async function returnUnbegun(
  tx: Tx,
  ids: readonly number[],
  inS = 0,
): Promise<Map<number, StepStatus>> {
  if (ids.length === 0) return new Map();
  const rows = await tx<{ id: number; status: StepStatus }[]>`
    update job_run_steps set status = 'ready', agent_id = null, session_number = null, lease_token = null,
      leased_at = null, started_at = null, deadline_at = null, output_state = 'complete',
      unbegun = unbegun + 1,
      not_before = case when ${inS}::int > 0 then clock_timestamp() + make_interval(secs => ${inS}::int) end
    where id = any(${ids as number[]}::bigint[]) and status = 'running'
    returning id, status`;
  return new Map(rows.map(({ id, status }) => [id, status]));
}

/** Why a step ends with this status that had not begun when its target run ended or was stopped. */
export const reasonsOfWaiting = {
  skipped: 'predecessor',
  cancelled: null,
  timed_out: 'run_timeout',
} as const;

/** Gives the status to all steps of these target runs that still wait, except `but`, and returns them. */
export async function closeWaitingSteps(
  tx: Tx,
  targetRunIds: readonly number[],
  { status, but }: { status: keyof typeof reasonsOfWaiting; but: readonly number[] },
): Promise<{ id: number; jobRunId: number }[]> {
  if (targetRunIds.length === 0) return [];
  return tx<{ id: number; jobRunId: number }[]>`
    update job_run_steps set status = ${status}, completed_at = clock_timestamp(),
      reason = ${reasonsOfWaiting[status]}, output_state = 'complete'
    where target_run_id = any(${targetRunIds as number[]}::bigint[]) and status in ('pending', 'ready')
      and id <> all(${but as number[]}::bigint[])
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

/** Writes these fields of target runs, which are locked. */
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
