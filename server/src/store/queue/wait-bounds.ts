// How long ready steps wait for an agent or a lock. While something of a run goes on in a segment, or has within the
// run's `start_within`, its other steps there wait their turn; after that nobody is coming, and they end.
import type { Queryable, Sql } from '../database/connection.ts';

/** How a wait that was too long ends. While nothing has moved in a segment since, its agents are not waited for any more. */
const givenUp = 'start_within_expired';

/**
 * What a run comes to in those of its segments where steps wait and nothing runs: when something last did, and when a
 * wait for its agents was last given up. Of a step that is tried again or held its attempts say when it last ran. In other
 * segments no step that has ended is read: a run may have a million.
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

/** When the wait of a ready step ends where nothing goes on. Aliases: `st`, its run `r`, its `place` of those above. */
export function waitsUntil(db: Queryable) {
  return db`case
    when place.given_up_at > place.moved_at and not st.is_clean_up then greatest(place.given_up_at, st.waits_since)
    else greatest(coalesce(st.waits_since, r.created_at), place.moved_at) + (r.start_by - r.created_at) end`;
}

/** Open runs whose steps may have waited for too long: they have begun, and what is ready of them is looked at one by one. */
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
  /** Of the lock that it waits for; null where it waits for an agent. */
  lockName: string | null;
}

/** Steps of a run that have waited for too long. Asked again once they are locked: one may have been leased. */
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
