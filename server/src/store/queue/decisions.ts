// Held steps, and what people decided about them.
import type { Decision, StepStatus } from '@opsconductor/protocol';
import type { Reach } from '../../auth/authority.ts';
import type { StepRules } from '../../jobs/definition/step-rules.ts';
import type { Queryable, Tx } from '../database/connection.ts';
import { targetRunWithin } from '../people/visibility.ts';

export interface HeldFilter {
  agentName?: string | undefined;
  stepNumber?: number | undefined;
  reason?: string | undefined;
}

export interface HeldStepRow {
  id: number;
  epoch: number;
  targetRunId: number;
  targetName: string;
  stepNumber: number;
  agentName: string | null;
  reason: string | null;
  message: string | null;
  heldUntil: Date;
}

/** Returns the held steps of a run within the reaches, in order. */
export async function listHeldSteps(
  db: Queryable,
  runId: number,
  reaches: readonly Reach[],
): Promise<HeldStepRow[]> {
  return db<HeldStepRow[]>`
    select st.id, st.epoch, st.target_run_id, tr.target_name, st.step_number, a.name as agent_name, st.reason,
      st.error_message as message, st.held_until
    from job_run_steps st
    join job_run_targets tr on tr.id = st.target_run_id
    join job_runs r on r.id = st.job_run_id
    join jobs j on j.id = r.job_id
    left join agents a on a.id = st.agent_id
    where st.job_run_id = ${runId} and st.status = 'held' and ${targetRunWithin(db, reaches)}
    order by st.step_number, a.name, st.reason, st.id`;
}

/**
 * Returns the ids of the run's held steps within the reaches that match the filter. While the run is locked, no step
 * becomes held or stops being held.
 */
export async function heldStepIds(
  db: Queryable,
  runId: number,
  reaches: readonly Reach[],
  filter: HeldFilter = {},
): Promise<number[]> {
  const rows = await db<{ id: number }[]>`
    select st.id from job_run_steps st
    join job_run_targets tr on tr.id = st.target_run_id
    join job_runs r on r.id = st.job_run_id
    join jobs j on j.id = r.job_id
    left join agents a on a.id = st.agent_id
    where st.job_run_id = ${runId} and st.status = 'held' and ${targetRunWithin(db, reaches)}
      ${filter.agentName === undefined ? db`` : db`and a.name = ${filter.agentName}`}
      ${filter.stepNumber === undefined ? db`` : db`and st.step_number = ${filter.stepNumber}`}
      ${filter.reason === undefined ? db`` : db`and st.reason = ${filter.reason}`}
    order by st.id`;
  return rows.map((row) => row.id);
}

/** Returns the current state of those of these steps of a run that are within the reaches, with their hosts. */
export async function stepsNow(
  db: Queryable,
  runId: number,
  ids: readonly number[],
  reaches: readonly Reach[],
): Promise<{ id: number; epoch: number; status: StepStatus; stepNumber: number; targetName: string }[]> {
  return db<{ id: number; epoch: number; status: StepStatus; stepNumber: number; targetName: string }[]>`
    select st.id, st.epoch, st.status, st.step_number, tr.target_name
    from job_run_steps st
    join job_run_targets tr on tr.id = st.target_run_id
    join job_runs r on r.id = st.job_run_id
    join jobs j on j.id = r.job_id
    where st.job_run_id = ${runId} and st.id = any(${ids as number[]}::bigint[])
      and ${targetRunWithin(db, reaches)}`;
}

/** Returns the rules of a run’s steps, by which an end is settled; null if no step has any. */
export async function stepRulesOfRun(db: Queryable, runId: number): Promise<StepRules[] | null> {
  const [row] = await db<{ stepRules: StepRules[] | null }[]>`
    select v.step_rules from job_runs r join job_versions v on v.job_id = r.job_id and v.version = r.job_version
    where r.id = ${runId}`;
  return row?.stepRules ?? null;
}

/** Records who decided what, on the attempts that had left these steps held. */
export async function writeDecisions(
  tx: Tx,
  steps: readonly { id: number; epoch: number }[],
  decided: { decision: Decision; note: string; userId: number },
): Promise<void> {
  const asked = steps.map(({ id, epoch }) => ({ id, epoch }));
  await tx`
    update job_run_step_attempts a set decision = ${decided.decision}, decision_note = ${decided.note},
      decided_by = ${decided.userId}, decided_at = clock_timestamp()
    from jsonb_to_recordset(${tx.json(asked as never)}::jsonb) as c(id bigint, epoch integer)
    where a.job_run_step_id = c.id and a.epoch = c.epoch`;
}
