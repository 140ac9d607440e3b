// What a run's strategy changes in its rows, for any number of target runs at once. The caller has locked the run.
import type { Sql, Tx } from '../database/connection.ts';
import { type RunRow, type TargetRunRow, targetRunColumns } from '../runs/progress/progress-rows.ts';

/** Opens the next target runs in their order: the first step of each becomes ready. */
export async function openTargetRuns(
  tx: Tx,
  runId: number,
  count: number,
): Promise<{ opened: number; ready: { id: number; segmentId: number }[] }> {
  const rows = await tx<{ id: number | null; segmentId: number }[]>`
    with next as materialized (
      select id from job_run_targets where job_run_id = ${runId} and not is_open
      order by id limit ${count} for update
    ), opened as (
      update job_run_targets t set is_open = true from next where t.id = next.id returning t.id, t.segment_id
    ), readied as (
      update job_run_steps st set status = 'ready', waits_since = clock_timestamp() from (
        select first.id from next cross join lateral (
          select s.id from job_run_steps s where s.target_run_id = next.id and s.status = 'pending'
          order by s.step_number limit 1) first) first
      where st.id = first.id
      returning st.id, st.target_run_id
    )
    select readied.id, opened.segment_id from opened left join readied on readied.target_run_id = opened.id`;
  const ready = rows.flatMap(({ id, segmentId }) => (id === null ? [] : [{ id, segmentId }]));
  return { opened: rows.length, ready };
}

/**
 * Returns the target runs that have not begun and should end, and writes why; the caller ends them and their steps.
 * None of them can be leased meanwhile: target runs that a claim has just taken are waited for and left out.
 *
 * @param running target runs that have not begun although they count as running, because their first lease came back.
 * @param only restricts this to the given target runs.
 */
export async function endableUnbegun(
  tx: Tx,
  runId: number,
  message: string,
  { running = [], only }: { running?: readonly number[]; only?: readonly number[] | undefined } = {},
): Promise<TargetRunRow[]> {
  const chosen = only === undefined ? tx`` : tx`and id = any(${only as number[]}::bigint[])`;
  const targets = await tx<TargetRunRow[]>`
    select ${targetRunColumns(tx)} from job_run_targets
    where job_run_id = ${runId} and (status = 'queued' or status = 'running' and id = any(${running as number[]}::bigint[]))
      ${chosen}
    order by id for update`;
  if (targets.length === 0) return [];
  const ids = targets.map((target) => target.id);
  await tx`
    select count(*) from (
      select from job_run_steps
      where job_run_id = ${runId} and target_run_id = any(${ids}::bigint[]) and status = 'ready'
      order by id for update) locked`;
  const begun = await tx<{ id: number }[]>`
    select distinct target_run_id as id from job_run_steps
    where job_run_id = ${runId} and target_run_id = any(${ids}::bigint[])
      and status not in ('pending', 'ready', 'skipped')`;
  const hasBegun = new Set(begun.map((row) => row.id));
  const targetRuns = targets.filter((target) => !hasBegun.has(target.id));
  await tx`
    update job_run_targets set end_reason = ${message}
    where id = any(${targetRuns.map((target) => target.id)}::bigint[])`;
  return targetRuns;
}

/** Takes a target run that the strategy holds back out of those that it will open. */
export async function takeOutOfOrder(tx: Tx, targetRunId: number): Promise<void> {
  await tx`update job_run_targets set is_open = true where id = ${targetRunId}`;
}

/** Writes how far the run's strategy has come. */
export async function writeStrategy(tx: Tx, run: RunRow): Promise<void> {
  await tx`
    update job_runs set targets_opened = ${run.targetsOpened}, batch_number = ${run.batchNumber},
      batch_end = ${run.batchEnd}, batch_failures = ${run.batchFailures}, batch_began_at = ${run.batchBeganAt},
      halted_at = ${run.haltedAt}, halted_reason = ${run.haltedReason}
    where id = ${run.id}`;
}

/**
 * Returns, for the segment of each of these steps, the lowest claim rank among its ready steps, or 101 if none is
 * ready.
 */
export async function readyRanks(tx: Tx, stepIds: readonly number[]): Promise<Map<number, number>> {
  const rows = await tx<{ segmentId: number; rank: number }[]>`
    select g.segment_id, coalesce((
      select st.claim_rank from job_run_steps st
      where st.segment_id = g.segment_id and st.status = 'ready' and st.not_before is null
      order by st.segment_id, st.not_before, st.claim_rank limit 1), 101) as rank
    from (select distinct segment_id from job_run_steps where id = any(${stepIds as number[]}::bigint[])) g`;
  return new Map(rows.map((row) => [row.segmentId, row.rank]));
}

/** Returns open runs that are past their timeout and have not been stopped for it yet. */
export async function runsPastTimeout(sql: Sql): Promise<number[]> {
  const rows = await sql<{ id: number }[]>`
    select id from job_runs
    where status in ('queued', 'running', 'held') and stop_reason is null
      and started_at + make_interval(secs => timeout_s) < clock_timestamp()
    order by id limit 100`;
  return rows.map((row) => row.id);
}

/**
 * Marks the run as stopped by its timeout. As after a cancel, running steps have from now on until the sweep gives them
 * up.
 */
export async function markTimedOut(tx: Tx, runId: number): Promise<void> {
  await tx`
    update job_runs set stop_reason = 'run_timeout',
      cancel_requested_at = coalesce(cancel_requested_at, clock_timestamp())
    where id = ${runId}`;
}
