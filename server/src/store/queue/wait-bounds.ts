// How long ready steps wait for an agent or a lock. While anything of a run is going on in a segment, or was within the
// run's `start_within`, its other steps there wait their turn. After that no agent can be expected to come, and they
// end.
import type { Queryable, Sql } from '../database/connection.ts';

/**
 * Reason of a step that waited too long. Until something moves again in that segment, no further step waits for its
 * agents, except for clean-up steps.
 */
const givenUp = 'start_within_expired';

/**
 * SQL: the segments of a run where steps wait and nothing runs, with the time when something last ran there and when a
 * wait for its agents was last given up. For a step that waits for a retry or is held, its attempts say when it last
 * ran. In other segments no ended step is read, because a run may have a million.
 */
export function idlePlaces(db: Queryable, runId: number) {
  return db`
    select pt.segment_id, coalesce(max(p.moved_at), '-infinity') as moved_at,
      coalesce(max(p.given_up_at), '-infinity') as given_up_at
    from job_run_targets pt
    cross join lateral (
      select max(greatest(p.leased_at, p.completed_at, case when p.status in ('ready', 'held') and p.epoch > 0 then (
          select max(a.settled_at) from job_run_step_attempts a where a.job_run_step_id = p.id) end))
          filter (where p.reason is distinct from ${givenUp}) as moved_at,
        max(p.completed_at) filter (where p.reason = ${givenUp} and p.not_before is distinct from 'infinity') as given_up_at
      from job_run_steps p where p.target_run_id = pt.id) p
    where pt.job_run_id = ${runId} and pt.segment_id = any(array(
      select w.segment_id from job_run_steps w where w.job_run_id = ${runId} and w.status = 'ready'
      group by w.segment_id having not exists (select from job_run_steps g
        where g.segment_id = w.segment_id and g.job_run_id = ${runId} and g.status = 'running')))
    group by pt.segment_id`;
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
