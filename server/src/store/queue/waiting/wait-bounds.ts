// How long ready steps wait for an agent or a lock. While anything of a run is going on in a segment, or was within the
// run's `start_within`, its other steps there wait their turn. After that no agent can be expected to come, and they
// end.
import type { Queryable, Sql } from '../../database/connection.ts';

/**
 * Reason of a step that waited too long. Until something moves again in that segment, no further step waits for its
 * agents, except for clean-up steps.
 */
const givenUp = 'start_within_expired';

/**
 * SQL: the segments of a run where steps wait and nothing runs, with the time when something last ran there and when a
 * wait for its agents was last given up. A run may have a million steps, so steps are read only where their target run
 * doesn't say enough: those of target runs that are under way, or of which a step was given up. A step that waits for a
 * retry or is held doesn't say when it last ran; its attempts do.
 */
export function idlePlaces(db: Queryable, runId: number) {
  const reason = db.unsafe(`'${givenUp}'`);
  // LATERAL: as joins these might read all steps and attempts there are.
  const ofTargetRun = db`select max(greatest(p.leased_at, p.completed_at)) as at from job_run_steps p
    where p.target_run_id = tr.id and p.reason is distinct from ${reason}`;
  const ofAttempts = db`
    select max(a.settled_at) as at from job_run_step_attempts a where a.job_run_step_id = p.id and p.epoch > 0`;
  return db`
    with given_up as materialized (
      select g.target_run_id, g.segment_id, g.completed_at, g.not_before
      from job_run_steps g where g.job_run_id = ${runId} and g.reason = ${reason}
    ), idle as materialized (
      select w.segment_id from job_run_steps w where w.job_run_id = ${runId} and w.status = 'ready'
      group by w.segment_id having not exists (select from job_run_steps g
        where g.segment_id = w.segment_id and g.job_run_id = ${runId} and g.status = 'running')
    ), target_runs as materialized (
      select pt.id, pt.segment_id, pt.completed_at, pt.status <> 'queued' and pt.completed_at is null as is_under_way,
        pt.id in (select target_run_id from given_up) as has_given_up
      from job_run_targets pt
      where pt.job_run_id = ${runId} and pt.segment_id = any(array(select segment_id from idle))
    ), moved as materialized (
      -- By segment before it is joined: otherwise all of this might be read again for each segment.
      select each.segment_id, max(each.at) as at from (
        select tr.segment_id, tr.completed_at as at from target_runs tr where not tr.has_given_up
        union all
        select tr.segment_id, moved.at from target_runs tr cross join lateral (${ofTargetRun}) moved
        where tr.is_under_way or tr.has_given_up
        union all
        select p.segment_id, moved.at from idle
        join job_run_steps p on p.segment_id = idle.segment_id and p.job_run_id = ${runId} and p.status = 'ready'
        cross join lateral (${ofAttempts}) moved
        union all
        select p.segment_id, moved.at from job_run_steps p cross join lateral (${ofAttempts}) moved
        where p.job_run_id = ${runId} and p.status = 'held'
      ) each
      group by each.segment_id
    )
    select idle.segment_id, coalesce(moved.at, '-infinity') as moved_at,
      coalesce((select max(g.completed_at) from given_up g
        where g.segment_id = idle.segment_id and g.not_before is distinct from 'infinity'), '-infinity') as given_up_at
    from idle left join moved on moved.segment_id = idle.segment_id`;
}

/**
 * SQL: when the wait of a ready step ends if nothing is going on. Aliases: `st`, its run `r`, and `place`, its row of
 * `idlePlaces`.
 */
export function waitsUntil(db: Queryable) {
  return db`case
    when place.given_up_at > place.moved_at and not st.is_clean_up then greatest(place.given_up_at, st.waits_since)
    else greatest(coalesce(st.waits_since, r.created_at), place.moved_at) + (r.start_by - r.created_at) end`;
}

/**
 * Returns open runs whose steps may have waited too long: they have begun and have ready steps, which are then checked
 * one by one.
 */
export async function runsThatWait(sql: Sql): Promise<number[]> {
  const rows = await sql<{ id: number }[]>`
    select r.id from job_runs r
    where r.status in ('running', 'held', 'cancelling') and r.start_by < clock_timestamp()
      and exists (select from job_run_steps st where st.job_run_id = r.id and st.status = 'ready')
    order by r.id`;
  return rows.map((row) => row.id);
}

export interface LongWait {
  stepId: number;
  targetRunId: number;
  segmentName: string;
  /** Name of the lock that it waits for; `null` if it waits for an agent. */
  lockName: string | null;
}

/**
 * Returns the steps of a run that have waited too long. Ask again once they are locked, because one may have been
 * leased meanwhile.
 */
export async function longWaits(db: Queryable, runId: number): Promise<LongWait[]> {
  return db<LongWait[]>`
    with places as materialized (${idlePlaces(db, runId)})
    select st.id as step_id, st.target_run_id, g.name as segment_name,
      case when st.not_before = 'infinity' then split_part(st.waits_lock, '@', 1) end as lock_name
    from job_runs r
    join job_run_steps st on st.job_run_id = ${runId} and st.status = 'ready'
    join places place on place.segment_id = st.segment_id
    join segments g on g.id = st.segment_id
    where r.id = ${runId} and ${waitsUntil(db)} < clock_timestamp() order by st.id`;
}
