// Attempts that have ended: one row each, written when the attempt settles. A live attempt is the step's own row.
import type {
  CleanUpFinding,
  Decision,
  Detections,
  OutputState,
  StepOutcome,
  StepReason,
} from '@opsconductor/protocol';
import type { Queryable, Sql, Tx } from '../../database/connection.ts';

export interface SettledAttempt {
  stepId: number;
  epoch: number;
  status: StepOutcome['status'];
  startedAt: Date | null;
  exitCode: number | null;
  signal: string | null;
  reason: string | null;
  message: string | null;
  outputState: OutputState;
  /** Base64. */
  outputDigest: string | null;
  outputGaps: unknown;
  requestId: string | null;
  executionTimeMs: number | null;
  cpuMs: number | null;
  peakMemoryBytes: number | null;
  advice: string | null;
  survivors: unknown;
  detections: Detections | null;
}

/** Step ids to give in addition to a join, for the reason that `idsOf` in progress-rows.ts names. */
export const stepIdsOf = (attempts: readonly { stepId: number }[]): number[] =>
  attempts.map(({ stepId }) => stepId);

/** Writes the attempts' rows from the live step rows. Call it before the steps change. */
export async function writeAttempts(tx: Tx, attempts: readonly SettledAttempt[]): Promise<void> {
  if (attempts.length === 0) return;
  await tx`
    insert into job_run_step_attempts (job_run_step_id, epoch, job_run_id, agent_id, lease_token, attempt_day,
      leased_at, started_at, status, exit_code, signal, reason, message, output_state, output_seq, output_raw_bytes,
      output_digest, output_gaps, request_id, execution_time_ms, cpu_ms, peak_memory_bytes, advice, survivors,
      detections)
    select st.id, st.epoch, st.job_run_id, st.agent_id, st.lease_token, st.attempt_day, st.leased_at,
      c."startedAt", c.status, c."exitCode", c.signal, c.reason, c.message, c."outputState", st.output_seq, st.output_bytes,
      decode(c."outputDigest", 'base64'), c."outputGaps", c."requestId", c."executionTimeMs",
      c."cpuMs", c."peakMemoryBytes", c.advice, c.survivors, c.detections
    from jsonb_to_recordset(${tx.json(attempts as never)}::jsonb) as c(
      "stepId" bigint, epoch integer, status text, "startedAt" timestamptz, "exitCode" bigint, signal text,
      reason text, message text, "outputState" text, "outputDigest" text, "outputGaps" jsonb, "requestId" text, "executionTimeMs" bigint,
      "cpuMs" bigint, "peakMemoryBytes" bigint, advice text, survivors jsonb, detections jsonb)
    join job_run_steps st on st.id = c."stepId" and st.epoch = c.epoch and st.id = any(${stepIdsOf(attempts)}::bigint[])`;
}

/** Returns how many attempts of each of these steps have ended. */
export async function endedAttempts(tx: Tx, stepIds: readonly number[]): Promise<Map<number, number>> {
  if (stepIds.length === 0) return new Map();
  const rows = await tx<{ stepId: number; count: number }[]>`
    select job_run_step_id as step_id, count(*)::int as count from job_run_step_attempts
    where job_run_step_id = any(${stepIds as number[]}::bigint[]) group by job_run_step_id`;
  return new Map(rows.map((row) => [row.stepId, row.count]));
}

/** Returns the target runs of a run, or those of them that `only` names, that have an ended attempt. */
export async function begunTargetRuns(tx: Tx, runId: number, only?: readonly number[]): Promise<Set<number>> {
  const chosen = only === undefined ? tx`` : tx`and st.target_run_id = any(${only as number[]}::bigint[])`;
  const rows = await tx<{ targetRunId: number }[]>`
    select distinct st.target_run_id from job_run_step_attempts a join job_run_steps st on st.id = a.job_run_step_id
    where st.job_run_id = ${runId} ${chosen}`;
  return new Set(rows.map((row) => row.targetRunId));
}

export interface EndedAttempt {
  stepId: number;
  epoch: number;
  status: StepOutcome['status'];
  message: string | null;
  reason: StepReason | null;
  lateStatus: StepOutcome['status'] | null;
  requestId: string | null;
  leaseToken: string;
  agentId: number;
}

/** Locks and returns the ended attempts among these, to answer resent and late completions. */
export async function lockEndedAttempts(
  tx: Tx,
  attempts: readonly { stepId: number; epoch: number }[],
): Promise<EndedAttempt[]> {
  if (attempts.length === 0) return [];
  const asked = attempts.map(({ stepId, epoch }) => ({ stepId, epoch }));
  return tx<EndedAttempt[]>`
    select a.job_run_step_id as step_id, a.epoch, a.status, a.message, a.reason, a.late_status, a.request_id,
      a.lease_token, a.agent_id
    from jsonb_to_recordset(${tx.json(asked as never)}::jsonb) as c("stepId" bigint, epoch integer)
    join job_run_step_attempts a on a.job_run_step_id = c."stepId" and a.epoch = c.epoch
      and a.job_run_step_id = any(${stepIdsOf(attempts)}::bigint[])
    order by a.job_run_step_id, a.epoch for update of a`;
}

/** Returns those of these steps in whose target run another step is unknown, too; clean-up steps don't count. */
export async function unknownBeside(tx: Tx, stepIds: readonly number[]): Promise<Set<number>> {
  if (stepIds.length === 0) return new Set();
  const rows = await tx<{ id: number }[]>`
    select st.id from job_run_steps st
    where st.id = any(${stepIds as number[]}::bigint[]) and exists (
      select from job_run_steps other
      where other.target_run_id = st.target_run_id and other.id <> st.id and other.status = 'unknown'
        and not other.is_clean_up offset 0) and not st.is_clean_up`;
  return new Set(rows.map(({ id }) => id));
}

/** Writes a late result. It settles only its own attempt, whatever has become of the run. */
export async function writeLateResult(
  tx: Tx,
  late: {
    stepId: number;
    epoch: number;
    status: StepOutcome['status'];
    exitCode: number | null;
    requestId: string;
    outputState: OutputState;
    outputDigest: string | null;
  },
): Promise<void> {
  await tx`
    update job_run_step_attempts a set late_status = ${late.status}, late_at = clock_timestamp(),
      exit_code = ${late.exitCode}, request_id = ${late.requestId}, output_state = ${late.outputState},
      output_digest = decode(${late.outputDigest}, 'base64'), output_seq = o.seq, output_raw_bytes = o.bytes
    from (
      select coalesce(max(o.seq), 0) as seq, coalesce(sum(o.raw_length), 0) as bytes
      from job_run_step_attempts t left join run_output o on o.attempt_day = t.attempt_day
        and o.job_run_step_id = t.job_run_step_id and o.epoch = t.epoch
      where t.job_run_step_id = ${late.stepId} and t.epoch = ${late.epoch}) o
    where a.job_run_step_id = ${late.stepId} and a.epoch = ${late.epoch}`;
}

/** Writes what an agent has reported later about a step whose outcome stands. */
export async function annotateStep(
  tx: Tx,
  step: { id: number; epoch: number; advice: string; outputState: OutputState },
): Promise<void> {
  await tx`
    update job_run_steps set advice = ${step.advice}, output_state = ${step.outputState}
    where id = ${step.id} and epoch = ${step.epoch}`;
}

export interface AttemptRecord {
  epoch: number;
  status: 'running' | StepOutcome['status'];
  agentName: string | null;
  leasedAt: Date | null;
  startedAt: Date | null;
  endedAt: Date | null;
  executionTimeMs: number | null;
  cpuMs: number | null;
  peakMemoryBytes: number | null;
  exitCode: number | null;
  signal: string | null;
  reason: string | null;
  message: string | null;
  advice: string | null;
  survivors: { pid: number; command: string }[] | null;
  detections: Detections | null;
  outputState: OutputState;
  outputBytes: number;
  lateStatus: StepOutcome['status'] | null;
  lateAt: Date | null;
  decision: Decision | null;
  decisionNote: string | null;
  decidedBy: string | null;
  decidedAt: Date | null;
  cleanUpState: 'waits' | 'asked' | 'done' | null;
  cleanUpDue: Date | null;
  found: CleanUpFinding | null;
  foundSurvivors: { pid: number; command: string }[] | null;
  toldAt: Date | null;
}

/** Returns all attempts of a step, the first one first. The last one may be live. */
export async function listAttempts(db: Queryable, stepId: number): Promise<AttemptRecord[]> {
  return db<AttemptRecord[]>`
    select t.epoch, t.status, a.name as agent_name, t.leased_at, t.started_at, t.settled_at as ended_at,
      t.execution_time_ms, t.cpu_ms, t.peak_memory_bytes, t.exit_code, t.signal, t.reason, t.message, t.advice,
      t.survivors, t.detections, t.output_state,
      t.output_raw_bytes as output_bytes, t.late_status, t.late_at, t.decision, t.decision_note,
      u.name as decided_by, t.decided_at,
      case when c.done_at is not null then 'done' when c.asked_at is not null then 'asked'
        when c.job_run_step_id is not null then 'waits' end as clean_up_state,
      case when c.asked_at is null and c.done_at is null then c.due_at end as clean_up_due,
      c.found, c.survivors as found_survivors, c.told_at
    from job_run_step_attempts t
    left join agents a on a.id = t.agent_id
    left join users u on u.id = t.decided_by
    left join attempt_clean_ups c on c.job_run_step_id = t.job_run_step_id and c.epoch = t.epoch
    where t.job_run_step_id = ${stepId}
    union all
    select st.epoch, 'running', a.name, st.leased_at, st.started_at, null, null, null, null, null, null, null, null, null, null, null,
      st.output_state, st.output_bytes, null, null, null, null, null, null, null, null, null, null, null
    from job_run_steps st left join agents a on a.id = st.agent_id
    where st.id = ${stepId} and st.status = 'running'
    order by epoch`;
}

/**
 * SQL: when the target run of step `st` was cancelled by itself, if it was. A subquery without conditions on that time,
 * so that it is found by the target run's key: a plan from when there were few such target runs would go on reading
 * them all.
 */
export function targetRunCancelledAt(sql: Queryable) {
  return sql`(select ct.cancel_requested_at from job_run_targets ct where ct.id = st.target_run_id)`;
}

/** SQL condition: the target run of step `st` was cancelled by itself. */
export function isTargetRunCancelled(sql: Queryable) {
  return sql`${targetRunCancelledAt(sql)} is not null`;
}

/**
 * SQL condition: nobody waits any longer for the command of an ended attempt. Aliases: `a` attempt, `st` step, `r` run.
 */
export function isAwaitedNoMore(sql: Queryable) {
  return sql`(r.cancel_requested_at is not null or st.epoch > a.epoch
    or coalesce(a.decision in ('cancel', 'retry'), false) or ${isTargetRunCancelled(sql)})`;
}

/**
 * Returns how many attempts of the run, or of one of its target runs, were given up and never reported on since,
 * neither by their agents nor by an agent that looked at the target. What they began may still be running.
 */
export async function countUntoldAttempts(
  db: Queryable,
  runId: number,
  targetRunId?: number,
): Promise<number> {
  const chosen =
    targetRunId === undefined
      ? db``
      : db`and a.job_run_step_id = any(array(select id from job_run_steps where target_run_id = ${targetRunId}))`;
  const [row] = await db<{ untold: number }[]>`
    select count(*)::integer as untold from job_run_step_attempts a
    left join attempt_clean_ups c on c.job_run_step_id = a.job_run_step_id and c.epoch = a.epoch
    where a.job_run_id = ${runId} ${chosen} and a.status = 'unknown' and a.late_status is null
      and case when c.job_run_step_id is null then a.request_id is null else c.done_at is null end`;
  return row?.untold ?? 0;
}

export interface HeldAttempts {
  agentId: number;
  /** Pairs of step and epoch. */
  held: readonly (readonly [number, number])[];
}

/**
 * Returns, for each agent, those of the attempts that it says it holds which were given up and which nobody waits for
 * any longer.
 */
export async function heldInVain(
  sql: Sql,
  agents: readonly HeldAttempts[],
): Promise<{ step: number; epoch: number }[][]> {
  const listed = agents.flatMap(({ agentId, held }) =>
    held.map(([step, epoch]) => ({ agentId, step, epoch })),
  );
  const rows = await sql<{ agentId: number; step: number; epoch: number }[]>`
    select a.agent_id, a.job_run_step_id as step, a.epoch
    from jsonb_to_recordset(${sql.json(listed)}::jsonb) as h("agentId" bigint, step bigint, epoch integer)
    join job_run_step_attempts a on a.job_run_step_id = h.step and a.epoch = h.epoch and a.agent_id = h."agentId"
    join job_run_steps st on st.id = a.job_run_step_id
    join job_runs r on r.id = a.job_run_id
    where a.status = 'unknown' and a.late_status is null and ${isAwaitedNoMore(sql)}`;
  return agents.map(({ agentId }) =>
    rows.filter((row) => row.agentId === agentId).map(({ step, epoch }) => ({ step, epoch })),
  );
}
