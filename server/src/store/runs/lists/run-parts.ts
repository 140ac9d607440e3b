// The part of a run within a caller's reaches: its figures, and the ids to filter events by. Not used for callers who
// see the whole run.
import { type RunStatus, runStatuses } from '@opsconductor/protocol';
import type { Reach } from '../../../auth/authority.ts';
import { type Queryable, unprepared } from '../../database/connection.ts';
import { targetRunWithin } from '../../people/visibility.ts';

/** Counts of the visible target runs, and of their steps. */
export interface RunPartRow {
  jobRunId: number;
  targets: Record<RunStatus, number>;
  startedAt: Date | null;
  /** When the last of these target runs ended. */
  completedAt: Date | null;
  totalSteps: number;
  completedSteps: number;
  failedSteps: number;
  gappedSteps: number;
  truncatedSteps: number;
}

/** Returns the visible parts of these runs. A run of which nothing is visible has no row. */
export async function listRunParts(
  db: Queryable,
  runIds: readonly number[],
  reaches: readonly Reach[],
): Promise<RunPartRow[]> {
  if (runIds.length === 0) return [];
  const ids = db`${runIds as number[]}::bigint[]`;
  const within = targetRunWithin(db, reaches);
  // A run has the same number of steps on each target, so those of a target run that succeeded can be counted without
  // reading them; in 50 runs on 12,000 targets that is nearly all of them.
  const rows = await unprepared(db<RunPartRow[]>`
    with seen as materialized (
      select tr.job_run_id, tr.status, count(*) as number, min(tr.started_at) as started_at,
        max(tr.completed_at) as completed_at
      from job_run_targets tr join job_runs r on r.id = tr.job_run_id join jobs j on j.id = r.job_id
      where tr.job_run_id = any(${ids}) and ${within}
      group by tr.job_run_id, tr.status
    ), other as (
      select tr.job_run_id,
        count(*) filter (where s.status in ('succeeded', 'failed', 'skipped', 'cancelled', 'timed_out', 'unknown'))
          as completed,
        count(*) filter (where s.status in ('failed', 'timed_out')) as failed
      from job_run_targets tr join job_runs r on r.id = tr.job_run_id join jobs j on j.id = r.job_id
      join job_run_steps s on s.target_run_id = tr.id
      where tr.job_run_id = any(${ids}) and tr.status <> 'succeeded' and ${within}
      group by tr.job_run_id
    ), incomplete as (
      select s.job_run_id, count(*) filter (where s.output_state = 'gapped') as gapped,
        count(*) filter (where s.output_state = 'truncated') as truncated
      from job_run_steps s
      join job_run_targets tr on tr.id = s.target_run_id join job_runs r on r.id = tr.job_run_id
      join jobs j on j.id = r.job_id
      where s.job_run_id = any(${ids}) and s.output_state in ('gapped', 'truncated') and ${within}
      group by s.job_run_id
    )
    select seen.job_run_id, jsonb_object_agg(seen.status, seen.number) as targets,
      min(seen.started_at) as started_at, max(seen.completed_at) as completed_at,
      sum(seen.number * steps.each)::bigint as total_steps,
      (coalesce(sum(seen.number * steps.each) filter (where seen.status = 'succeeded'), 0)
        + coalesce(max(other.completed), 0))::bigint as completed_steps,
      coalesce(max(other.failed), 0) as failed_steps, coalesce(max(incomplete.gapped), 0) as gapped_steps,
      coalesce(max(incomplete.truncated), 0) as truncated_steps
    from seen
    join job_runs run on run.id = seen.job_run_id
    cross join lateral (select run.total_steps / run.targets_total as each) steps
    left join other on other.job_run_id = seen.job_run_id
    left join incomplete on incomplete.job_run_id = seen.job_run_id
    group by seen.job_run_id`);
  return rows.map((row) => ({ ...row, targets: { ...noTargets(), ...row.targets } }));
}

/** Returns, for each open run, counts of its visible target runs. */
export async function listOpenRunParts(
  db: Queryable,
  reaches: readonly Reach[],
): Promise<{ targets: Record<RunStatus, number>; maxFailures: number; cancelRequested: boolean }[]> {
  return db<{ targets: Record<RunStatus, number>; maxFailures: number; cancelRequested: boolean }[]>`
    select ${targetCounts(db)}, r.max_failures, r.cancel_requested_at is not null as cancel_requested
    from job_runs r
    join jobs j on j.id = r.job_id
    join job_run_targets tr on tr.job_run_id = r.id and ${targetRunWithin(db, reaches)}
    where r.status in ('queued', 'running', 'cancelling', 'held')
    group by r.id`;
}

/** Returns the visible target runs of one run, with the ids of their steps. */
export async function listPartSteps(
  db: Queryable,
  runId: number,
  reaches: readonly Reach[],
): Promise<{ id: number; stepIds: number[] }[]> {
  return db<{ id: number; stepIds: number[] }[]>`
    select tr.id, array(select s.id from job_run_steps s where s.target_run_id = tr.id order by s.id) as step_ids
    from job_run_targets tr
    join job_runs r on r.id = tr.job_run_id
    join jobs j on j.id = r.job_id
    where tr.job_run_id = ${runId} and ${targetRunWithin(db, reaches)}
    order by tr.id`;
}

/** Which part of a run is visible. */
export interface PartIdentity {
  targets: number;
  /** SHA-256 in hex of the ids of the visible target runs, in order, separated by commas: it identifies this set. */
  digest: string;
}

/** Returns which part of a run lies within the reaches; with no targets if none of it does. */
export async function identifyPart(
  db: Queryable,
  runId: number,
  reaches: readonly Reach[],
): Promise<PartIdentity> {
  const [row] = await db<PartIdentity[]>`
    with seen as (${seenTargets(db, runId, reaches)}) select ${identityOf(db)} from seen`;
  return row ?? { targets: 0, digest: '' };
}

/**
 * Counts the run's events above `from`, up to `to`, that concern a visible target run or step: the reader's own event
 * number rises by this count. Also identifies the part, as of the same moment.
 */
export async function countPartEvents(
  db: Queryable,
  runId: number,
  reaches: readonly Reach[],
  { from, to }: { from: number; to: number },
): Promise<PartIdentity & { count: number }> {
  const between = db`e.job_run_id = ${runId} and e.seq > ${from} and e.seq <= ${to}`;
  const [row] = await db<(PartIdentity & { count: number })[]>`
    with seen as materialized (${seenTargets(db, runId, reaches)}), told as (
      select e.seq, (x.value ->> 'id')::bigint as target_run_id
      from run_events e cross join jsonb_array_elements(coalesce(e.change -> 'targetRuns', '[]')) x
      where ${between}
      union all
      select e.seq, s.target_run_id
      from run_events e cross join jsonb_array_elements(coalesce(e.change -> 'steps', '[]')) x
      join job_run_steps s on s.id = (x.value ->> 'id')::bigint
      where ${between}
    )
    select ${identityOf(db)},
      (select count(distinct told.seq) from told join seen on seen.id = told.target_run_id) as count
    from seen`;
  return row ?? { targets: 0, digest: '', count: 0 };
}

function seenTargets(db: Queryable, runId: number, reaches: readonly Reach[]) {
  return db`select tr.id from job_run_targets tr
    join job_runs r on r.id = tr.job_run_id
    join jobs j on j.id = r.job_id
    where tr.job_run_id = ${runId} and ${targetRunWithin(db, reaches)}`;
}

function identityOf(db: Queryable) {
  return db`count(*) as targets,
    encode(sha256(convert_to(coalesce(string_agg(seen.id::text, ',' order by seen.id), ''), 'UTF8')), 'hex') as digest`;
}

function targetCounts(db: Queryable) {
  return db`jsonb_build_object(
      'queued', count(*) filter (where tr.status = 'queued'),
      'running', count(*) filter (where tr.status = 'running'),
      'cancelling', count(*) filter (where tr.status = 'cancelling'),
      'held', count(*) filter (where tr.status = 'held'),
      'succeeded', count(*) filter (where tr.status = 'succeeded'),
      'failed', count(*) filter (where tr.status = 'failed'),
      'partial', count(*) filter (where tr.status = 'partial'),
      'cancelled', count(*) filter (where tr.status = 'cancelled'),
      'timed_out', count(*) filter (where tr.status = 'timed_out'),
      'unknown', count(*) filter (where tr.status = 'unknown')) as targets`;
}

function noTargets(): Record<RunStatus, number> {
  return Object.fromEntries(runStatuses.map((status) => [status, 0])) as Record<RunStatus, number>;
}
