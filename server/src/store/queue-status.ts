// Counts of the queue for the executor and worker status endpoints.
import type { Queryable } from './connection.ts';

export async function stepCounts(db: Queryable): Promise<{ ready: number; running: number; held: number }> {
  const [row] = await db<{ ready: number; running: number; held: number }[]>`
    select count(*) filter (where status = 'ready') as ready, count(*) filter (where status = 'running') as running,
      count(*) filter (where status = 'held') as held
    from job_run_steps where status in ('ready', 'running', 'held')`;
  return row ?? { ready: 0, running: 0, held: 0 };
}

export async function openRunCounts(
  db: Queryable,
): Promise<{ queued: number; running: number; cancelling: number }> {
  const [row] = await db<{ queued: number; running: number; cancelling: number }[]>`
    select count(*) filter (where status = 'queued') as queued, count(*) filter (where status = 'running') as running,
      count(*) filter (where status = 'cancelling') as cancelling
    from job_runs where status in ('queued', 'running', 'cancelling', 'held')`;
  return row ?? { queued: 0, running: 0, cancelling: 0 };
}

/** Age of the oldest run that has a ready step, in ms. */
export async function oldestReadyMs(db: Queryable): Promise<number | null> {
  const [row] = await db<{ ms: number | null }[]>`
    select (extract(epoch from clock_timestamp() - min(r.created_at)) * 1000)::bigint as ms
    from job_runs r where r.status in ('queued', 'running')
      and exists (select from job_run_steps s where s.job_run_id = r.id and s.status = 'ready')`;
  return row?.ms ?? null;
}

export interface SegmentQueueRow {
  id: number;
  name: string;
  ready: number;
  running: number;
  freeSlots: number;
}

export async function segmentQueues(db: Queryable): Promise<SegmentQueueRow[]> {
  return db<SegmentQueueRow[]>`
    with steps as (
      select segment_id, count(*) filter (where status = 'ready') as ready,
        count(*) filter (where status = 'running') as running
      from job_run_steps where status in ('ready', 'running') group by segment_id
    ), slots as (
      select a.segment_id, sum(s.slots) as slots from agent_sessions s join agents a on a.id = s.agent_id
      where s.ready and not s.draining and s.disconnected_at is null and s.expires_at > clock_timestamp()
        and a.state = 'active'
      group by a.segment_id
    )
    select g.id, g.name, coalesce(steps.ready, 0) as ready, coalesce(steps.running, 0) as running,
      greatest(0, coalesce(slots.slots, 0) - coalesce(steps.running, 0))::bigint as free_slots
    from segments g left join steps on steps.segment_id = g.id left join slots on slots.segment_id = g.id
    order by g.name`;
}
