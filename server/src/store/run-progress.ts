// The rows that progress of runs reads and writes. Lock order everywhere: runs, then target runs, then steps, by id.
import type { OutputState, RunStatus, StepStatus } from '@opsconductor/protocol';
import { attemptSlackS } from './claims.ts';
import type { Tx } from './connection.ts';

export interface RunRow {
  id: number;
  status: RunStatus;
  maxFailures: number;
  targetsTotal: number;
  targetsRunning: number;
  targetsSucceeded: number;
  targetsFailed: number;
  targetsCancelled: number;
  targetsTimedOut: number;
  targetsUnknown: number;
  totalSteps: number;
  completedSteps: number;
  failedSteps: number;
  outputState: OutputState;
  eventSeq: number;
  startedAt: Date | null;
  completedAt: Date | null;
  errorMessage: string | null;
  now: Date;
}

export interface TargetRunRow {
  id: number;
  jobRunId: number;
  targetId: number | null;
  segmentId: number;
  targetName: string;
  status: RunStatus;
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
}

/** Runs, named by themselves or by some of their steps. */
export type RunsOf = { runIds: readonly number[] } | { stepIds: readonly number[] };

/**
 * The runs, locked until the transaction ends. `now` is the database's clock once the locks are held: what the
 * transaction writes is dated by it.
 */
export async function lockRuns(tx: Tx, runs: RunsOf): Promise<RunRow[]> {
  const named =
    'runIds' in runs
      ? tx`${runs.runIds as number[]}::bigint[]`
      : tx`array(select job_run_id from job_run_steps where id = any(${runs.stepIds as number[]}::bigint[]))`;
  return tx<RunRow[]>`
    with locked as materialized (
      select id, status, max_failures, targets_total, targets_running, targets_succeeded, targets_failed,
        targets_cancelled, targets_timed_out, targets_unknown, total_steps, completed_steps, failed_steps,
        output_state, event_seq, started_at, completed_at, error_message
      from job_runs where id = any(${named}) order by id for update)
    select *, clock_timestamp() as now from locked`;
}

/** The target runs of these steps, locked. */
export async function lockTargetRuns(tx: Tx, stepIds: readonly number[]): Promise<TargetRunRow[]> {
  return tx<TargetRunRow[]>`
    select id, job_run_id, target_id, segment_id, target_name, status, started_at, completed_at
    from job_run_targets
    where id = any(array(select target_run_id from job_run_steps where id = any(${stepIds as number[]}::bigint[])))
    order by id for update`;
}

/** Target runs of a run that have not ended. */
export async function lockOpenTargetRuns(tx: Tx, runId: number): Promise<TargetRunRow[]> {
  return tx<TargetRunRow[]>`
    select id, job_run_id, target_id, segment_id, target_name, status, started_at, completed_at
    from job_run_targets where job_run_id = ${runId} and status in ('queued', 'running', 'cancelling', 'held')
    order by id for update`;
}

/** The given steps and the one that follows each, locked. Found by keys alone: an OR would read the whole table. */
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
      st.started_at, st.output_seq, st.output_bytes
    from job_run_steps st
    where st.id = any(array(select id from asked union all select id from following))
    order by st.id for update`;
}

/** Steps of a run that wait for a lease or for their turn. */
export async function lockWaitingSteps(
  tx: Tx,
  runId: number,
): Promise<{ id: number; targetRunId: number; status: StepStatus }[]> {
  return tx<{ id: number; targetRunId: number; status: StepStatus }[]>`
    select id, target_run_id, status from job_run_steps
    where job_run_id = ${runId} and status in ('pending', 'ready') order by id for update`;
}

export async function runningStepsOf(tx: Tx, runId: number): Promise<{ id: number; targetRunId: number }[]> {
  return tx<{ id: number; targetRunId: number }[]>`
    select id, target_run_id from job_run_steps where job_run_id = ${runId} and status = 'running'`;
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
  executionTimeMs: number | null;
  outputState: OutputState;
  startedAt: Date | null;
}

/** Steps that end, with what became of their attempts. */
export async function writeSettledSteps(tx: Tx, steps: readonly SettledStep[], now: Date): Promise<void> {
  if (steps.length === 0) return;
  await tx`
    update job_run_steps st set status = c.status, exit_code = c."exitCode", signal = c.signal, reason = c.reason,
      error_message = c."errorMessage", advice = c.advice, survivors = c.survivors,
      execution_time_ms = c."executionTimeMs", output_state = c."outputState", started_at = c."startedAt",
      completed_at = ${now}
    from jsonb_to_recordset(${tx.json(steps as never)}::jsonb) as c(
      id bigint, status text, "exitCode" bigint, signal text, reason text, "errorMessage" text, advice text,
      survivors jsonb, "executionTimeMs" bigint, "outputState" text, "startedAt" timestamptz)
    where st.id = c.id`;
}

/** The worst output state of each run's steps. */
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

export interface SettledAttempt {
  stepId: number;
  epoch: number;
  status: string;
  startedAt: Date | null;
  exitCode: number | null;
  signal: string | null;
  reason: string | null;
  message: string | null;
  outputState: OutputState;
  /** base64 */
  outputDigest: string | null;
  outputGaps: unknown;
  requestId: string | null;
  executionTimeMs: number | null;
}

/** Writes the attempts' rows from the live step rows, so call it before the steps change. */
export async function writeAttempts(tx: Tx, attempts: readonly SettledAttempt[]): Promise<void> {
  if (attempts.length === 0) return;
  await tx`
    insert into job_run_step_attempts (job_run_step_id, epoch, job_run_id, agent_id, lease_token, attempt_day,
      leased_at, started_at, status, exit_code, signal, reason, message, output_state, output_seq, output_raw_bytes,
      output_digest, output_gaps, request_id, execution_time_ms)
    select st.id, st.epoch, st.job_run_id, st.agent_id, st.lease_token, st.attempt_day, st.leased_at,
      c."startedAt", c.status, c."exitCode", c.signal, c.reason, c.message, c."outputState", st.output_seq, st.output_bytes,
      decode(c."outputDigest", 'base64'), c."outputGaps", c."requestId", c."executionTimeMs"
    from jsonb_to_recordset(${tx.json(attempts as never)}::jsonb) as c(
      "stepId" bigint, epoch integer, status text, "startedAt" timestamptz, "exitCode" bigint, signal text,
      reason text, message text, "outputState" text, "outputDigest" text, "outputGaps" jsonb, "requestId" text, "executionTimeMs" bigint)
    join job_run_steps st on st.id = c."stepId" and st.epoch = c.epoch`;
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
    where st.id = c.id`;
}

export async function setStepStatus(
  tx: Tx,
  ids: readonly number[],
  status: 'ready' | 'cancelled',
): Promise<void> {
  if (ids.length === 0) return;
  const ended = status !== 'ready';
  await tx`
    update job_run_steps set status = ${status}, completed_at = ${ended ? tx`clock_timestamp()` : tx`null`},
      output_state = 'complete'
    where id = any(${ids as number[]}::bigint[])`;
}

/** Puts leases back that were never begun: the steps are ready again; their epochs stay. */
export async function returnToReady(tx: Tx, ids: readonly number[]): Promise<void> {
  if (ids.length === 0) return;
  await tx`
    update job_run_steps set status = 'ready', agent_id = null, session_number = null, lease_token = null,
      leased_at = null, started_at = null, deadline_at = null, output_state = 'complete'
    where id = any(${ids as number[]}::bigint[]) and status = 'running'`;
}

/** Steps of these target runs that still wait get the status; returns them. */
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

export async function writeTargetRuns(
  tx: Tx,
  rows: readonly { id: number; status: RunStatus; startedAt: Date | null; completedAt: Date | null }[],
): Promise<void> {
  if (rows.length === 0) return;
  await tx`
    update job_run_targets t set status = c.status, started_at = c."startedAt", completed_at = c."completedAt"
    from jsonb_to_recordset(${tx.json(rows as never)}::jsonb) as c(
      id bigint, status text, "startedAt" timestamptz, "completedAt" timestamptz)
    where t.id = c.id`;
}

/** Writes counters and status of locked runs, with the number of the event that tells of it. */
export async function writeRuns(
  tx: Tx,
  runs: readonly (RunRow & { executionTimeMs: number | null })[],
): Promise<void> {
  if (runs.length === 0) return;
  await tx`
    update job_runs r set status = c.status, targets_running = c."targetsRunning",
      targets_succeeded = c."targetsSucceeded", targets_failed = c."targetsFailed",
      targets_cancelled = c."targetsCancelled", targets_timed_out = c."targetsTimedOut",
      targets_unknown = c."targetsUnknown", completed_steps = c."completedSteps", failed_steps = c."failedSteps",
      output_state = c."outputState", error_message = c."errorMessage", event_seq = c."eventSeq",
      started_at = c."startedAt", completed_at = c."completedAt", execution_time_ms = c."executionTimeMs"
    from jsonb_to_recordset(${tx.json(runs as never)}::jsonb) as c(
      id bigint, status text, "targetsRunning" integer, "targetsSucceeded" integer, "targetsFailed" integer,
      "targetsCancelled" integer, "targetsTimedOut" integer, "targetsUnknown" integer, "completedSteps" integer,
      "failedSteps" integer, "outputState" text, "errorMessage" text, "eventSeq" bigint, "startedAt" timestamptz,
      "completedAt" timestamptz, "executionTimeMs" bigint)
    where r.id = c.id`;
}

/** PostgreSQL takes 8,000 bytes in a notification; each kind of news has 35 at most. */
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

/** Settled attempts by (step, epoch): to answer a resent or late completion. */
export async function attemptOf(
  tx: Tx,
  stepId: number,
  epoch: number,
): Promise<
  | { status: string; requestId: string | null; leaseToken: string; agentId: number; jobRunId: number }
  | undefined
> {
  const rows = await tx<
    { status: string; requestId: string | null; leaseToken: string; agentId: number; jobRunId: number }[]
  >`select status, request_id, lease_token, agent_id, job_run_id from job_run_step_attempts
    where job_run_step_id = ${stepId} and epoch = ${epoch} for update`;
  return rows[0];
}

/** A late result settles its own attempt and annotates the step, whatever the run has become. */
export async function annotateLateResult(
  tx: Tx,
  late: {
    stepId: number;
    epoch: number;
    status: string;
    exitCode: number | null;
    note: string;
    requestId: string;
    outputState: OutputState;
    outputDigest: string | null;
  },
): Promise<void> {
  await tx`
    update job_run_step_attempts set late_status = ${late.status}, late_at = clock_timestamp(),
      exit_code = ${late.exitCode}, request_id = ${late.requestId}, output_state = ${late.outputState},
      output_digest = decode(${late.outputDigest}, 'base64'),
      output_seq = st.output_seq, output_raw_bytes = st.output_bytes
    from job_run_steps st
    where job_run_step_id = ${late.stepId} and job_run_step_attempts.epoch = ${late.epoch} and st.id = job_run_step_id`;
  await tx`
    update job_run_steps set advice = ${late.note}, output_state = ${late.outputState}
    where id = ${late.stepId} and epoch = ${late.epoch} and status = 'unknown'`;
}

/**
 * Counts a command on the SSH connection that carried it. Agents name the connections, so that one name may stand for
 * several: of a run it is one row.
 */
export async function recordSshContexts(
  tx: Tx,
  contexts: readonly {
    jobRunId: number;
    targetId: number | null;
    agentId: number;
    sessionId: string;
    establishedAt: string;
    bytes: number;
  }[],
): Promise<void> {
  if (contexts.length === 0) return;
  await tx`
    insert into ssh_execution_context (job_run_id, target_id, session_id, agent_id, connection_established_at,
      commands_executed, total_bytes_transferred)
    select c."jobRunId", max(c."targetId"), c."sessionId", max(c."agentId"), max(c."establishedAt"), count(*), sum(c.bytes)
    from jsonb_to_recordset(${tx.json(contexts as never)}::jsonb) as c(
      "jobRunId" bigint, "targetId" bigint, "sessionId" text, "agentId" bigint, "establishedAt" timestamptz, bytes bigint)
    group by c."jobRunId", c."sessionId"
    on conflict (job_run_id, session_id) do update set
      commands_executed = ssh_execution_context.commands_executed + excluded.commands_executed,
      total_bytes_transferred = ssh_execution_context.total_bytes_transferred + excluded.total_bytes_transferred`;
}

/** Of these leases those that are live. */
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
    join agents a on a.id = st.agent_id`;
}
