// The rows that decide the progress of runs, most of them locked as they are read. Lock order everywhere: runs, then
// target runs, then steps, each by id.
import type { OutputState, RunStatus, RunStrategy, StepStatus } from '@opsconductor/protocol';
import type { StepRules } from '../../../jobs/definition/step-rules.ts';
import type { Tx } from '../../database/connection.ts';
import type { RunCounts } from '../run-counts.ts';

export interface RunRow extends RunCounts {
  id: number;
  status: RunStatus;
  maxFailures: number;
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
  /** When the open batch began; `null` for the first. */
  batchBeganAt: Date | null;
  haltedAt: Date | null;
  haltedReason: string | null;
  stopReason: 'run_timeout' | null;
  /** Seconds from its first lease; `null` for no limit. */
  timeoutS: number | null;
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
  /** When it was cancelled by itself; `null` if its whole run was. */
  cancelRequestedAt: Date | null;
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
  /** Leases that came back unbegun. */
  unbegun: number;
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

/** Whether the agent of a leased step has begun it. */
export function hasBegun({ startedAt, outputSeq }: Pick<StepRow, 'startedAt' | 'outputSeq'>): boolean {
  return startedAt !== null || outputSeq > 0;
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
        priority, strategy, targets_opened, batch_number, batch_end, batch_failures, batch_began_at, halted_at, halted_reason,
        stop_reason, timeout_s
      from job_runs where id = any(${named}) order by id for update)
    select locked.*, v.step_rules, clock_timestamp() as now
    from locked join job_versions v on v.job_id = locked.job_id and v.version = locked.job_version`;
}

/**
 * Ids to give in addition to a join with rows of parameters, so that the database finds the other rows by their keys.
 * It assumes that such a join has a hundred rows, for which it would read a small table whole, with a plan that it
 * keeps while the table grows.
 */
export const idsOf = (rows: readonly { id: number }[]): number[] => rows.map(({ id }) => id);

/** The columns of a `TargetRunRow`. */
export const targetRunColumns = (tx: Tx) => tx`
  id, job_run_id, target_id, segment_id, target_name, status, first_failure, started_at, completed_at,
  cancel_requested_at`;

/** Locks and returns the target runs of these steps. */
export async function lockTargetRuns(tx: Tx, stepIds: readonly number[]): Promise<TargetRunRow[]> {
  return tx<TargetRunRow[]>`
    select ${targetRunColumns(tx)} from job_run_targets
    where id = any(array(select target_run_id from job_run_steps where id = any(${stepIds as number[]}::bigint[])))
    order by id for update`;
}

/** Locks and returns the target runs of a run that have not ended, or those of them that `only` names. */
export async function lockOpenTargetRuns(
  tx: Tx,
  runId: number,
  only?: readonly number[],
): Promise<TargetRunRow[]> {
  const chosen = only === undefined ? tx`` : tx`and id = any(${only as number[]}::bigint[])`;
  return tx<TargetRunRow[]>`
    select ${targetRunColumns(tx)} from job_run_targets
    where job_run_id = ${runId} and status in ('queued', 'running', 'cancelling', 'held') ${chosen}
    order by id for update`;
}

/** Locks and returns a target run of a run. `isOpen` is false while the run's strategy holds it back. */
export async function lockTargetRun(
  tx: Tx,
  runId: number,
  id: number,
): Promise<(TargetRunRow & { isOpen: boolean }) | undefined> {
  const [row] = await tx<(TargetRunRow & { isOpen: boolean })[]>`
    select ${targetRunColumns(tx)}, is_open from job_run_targets where id = ${id} and job_run_id = ${runId} for update`;
  return row;
}

/**
 * Locks and returns the given steps, the step that follows each, and what else is leased of the same target runs. They
 * are found by keys alone; an OR would read the whole table.
 *
 * @param ahead for each of the steps, how many more of those that follow it are returned.
 */
export async function lockStepsAndNext(
  tx: Tx,
  ids: readonly number[],
  ahead: readonly number[] = [],
): Promise<StepRow[]> {
  return tx<StepRow[]>`
    with asked as materialized (
      select st.id, st.segment_id, st.job_run_id, st.target_run_id, st.step_number,
        coalesce(named.ahead, 0) as ahead
      from unnest(${ids as number[]}::bigint[], ${ahead as number[]}::int[]) as named(id, ahead)
      join job_run_steps st on st.id = named.id and st.id = any(${ids as number[]}::bigint[])
    ), following as materialized (
      select later.id from asked cross join lateral (
        select n.id from job_run_steps n
        where n.target_run_id = asked.target_run_id
          and n.step_number between asked.step_number + 1 and asked.step_number + 1 + asked.ahead
        offset 0) later
      union all
      select leased.id from asked cross join lateral (
        select n.id from job_run_steps n
        where n.segment_id = asked.segment_id and n.job_run_id = asked.job_run_id
          and n.target_run_id = asked.target_run_id and n.status = 'running'
        offset 0) leased
    )
    select st.id, st.job_run_id, st.target_run_id, st.segment_id, st.step_number, st.step_type, st.status, st.epoch,
      st.unbegun, st.lease_token, st.agent_id, st.session_number, st.attempt_day::text as attempt_day, st.leased_at,
      st.started_at, st.output_seq, st.output_bytes, st.output_state, st.held_until, st.is_clean_up, st.reason, st.error_message, st.needs
    from job_run_steps st
    where st.id = any(array(select id from asked union all select id from following))
    order by st.id for update`;
}

export type WaitingStep = Pick<
  StepRow,
  | 'id'
  | 'jobRunId'
  | 'targetRunId'
  | 'segmentId'
  | 'stepNumber'
  | 'stepType'
  | 'status'
  | 'epoch'
  | 'unbegun'
  | 'isCleanUp'
  | 'reason'
  | 'needs'
>;

function waitingStepColumns(tx: Tx) {
  return tx`id, job_run_id, target_run_id, segment_id, step_number, step_type, status, epoch, unbegun, is_clean_up,
      reason, needs`;
}

/** SQL condition: steps of the run, or of those of its target runs that `only` names, which are found by keys. */
function stepsOf(tx: Tx, runId: number, only: readonly number[] | undefined) {
  return only === undefined
    ? tx`job_run_id = ${runId}`
    : tx`job_run_id = ${runId} and target_run_id = any(${only as number[]}::bigint[])`;
}

/**
 * Locks the steps of a run, or of some of its target runs, that wait for a lease or for their turn. There may be a
 * million, so none is returned.
 */
export async function lockWaitingSteps(tx: Tx, runId: number, only?: readonly number[]): Promise<void> {
  await tx`
    select count(*) from (
      select from job_run_steps where ${stepsOf(tx, runId, only)} and status in ('pending', 'ready')
      order by id for update) locked`;
}

/**
 * Has the pending steps of a cancelled target run, except for these, wait for an agent that there isn't. They end
 * together with the step before them; a server of the version before, which doesn't know of the cancel, would lease
 * them.
 */
export async function keepFromAgents(
  tx: Tx,
  targetRunId: number,
  exceptNumbers: readonly number[],
): Promise<void> {
  await tx`
    update job_run_steps set needs = coalesce(needs, '{}') || array['not-cancelled']
    where target_run_id = ${targetRunId} and status = 'pending'
      and step_number <> all(${exceptNumbers as number[]}::integer[])`;
}

/** Returns the steps of these target runs that wait for a lease or for their turn. */
export async function waitingStepsOf(tx: Tx, targetRunIds: readonly number[]): Promise<WaitingStep[]> {
  if (targetRunIds.length === 0) return [];
  return tx<WaitingStep[]>`
    select ${waitingStepColumns(tx)}
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
    select ${waitingStepColumns(tx)}
    from job_run_steps
    where target_run_id = any(${targetRunIds as number[]}::bigint[]) and status in ('pending', 'skipped', 'cancelled', 'timed_out')
    order by id for update`;
}

/** Returns the steps of a run, or of some of its target runs, that are leased or held. */
export async function openStepsOf(
  tx: Tx,
  runId: number,
  only?: readonly number[],
): Promise<{ id: number; targetRunId: number; status: StepStatus }[]> {
  return tx<{ id: number; targetRunId: number; status: StepStatus }[]>`
    select id, target_run_id, status from job_run_steps
    where ${stepsOf(tx, runId, only)} and status in ('running', 'held') order by id`;
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

/** Returns those of these leases that are live. */
export async function liveLeases(
  tx: Tx,
  leases: readonly { id: number; epoch: number }[],
): Promise<
  {
    id: number;
    epoch: number;
    unbegun: number;
    jobRunId: number;
    targetRunId: number;
    agentName: string;
    leasedAt: Date;
  }[]
> {
  const asked = leases.map((lease) => ({ id: lease.id, epoch: lease.epoch }));
  return tx`
    select st.id, st.epoch, st.unbegun, st.job_run_id, st.target_run_id, a.name as agent_name, st.leased_at
    from jsonb_to_recordset(${tx.json(asked as never)}::jsonb) as c(id bigint, epoch integer)
    join job_run_steps st on st.id = c.id and st.epoch = c.epoch and st.status = 'running'
      and st.id = any(${idsOf(leases)}::bigint[])
    join agents a on a.id = st.agent_id`;
}
