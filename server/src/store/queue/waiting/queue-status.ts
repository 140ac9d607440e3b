// Counts of the queue for the executor and worker status endpoints.
import type { Reach } from '../../../auth/authority.ts';
import type { Queryable } from '../../database/connection.ts';
import { reachesEverything, segmentWithin, targetRunWithin } from '../../people/visibility.ts';
import { isAble } from '../claims/agent-slots.ts';

/** Of the steps that are leased in a target run, one counts as running: the others wait for their turn. */
export async function stepCounts(
  db: Queryable,
  reaches: readonly Reach[],
): Promise<{ ready: number; running: number; held: number }> {
  const [row] = await db<{ ready: number; running: number; held: number }[]>`
    select
      (select count(*) from job_run_steps s where s.status = 'ready' and ${stepWithin(db, reaches)}) as ready,
      (select count(distinct s.target_run_id) from job_run_steps s
        where s.status = 'running' and ${stepWithin(db, reaches)}) as running,
      (select count(*) from job_run_steps s where s.status = 'held' and ${stepWithin(db, reaches)}) as held`;
  return row ?? { ready: 0, running: 0, held: 0 };
}

/** Returns how many steps are held within the reaches. */
export async function heldSteps(db: Queryable, reaches: readonly Reach[]): Promise<number> {
  const [row] = await db<{ held: number }[]>`
    select count(*) as held from job_run_steps s where s.status = 'held' and ${stepWithin(db, reaches)}`;
  return row?.held ?? 0;
}

/** Counts the runs that are going on. Those that wait for a decision (`held`) are not among them. */
export async function openRunCounts(
  db: Queryable,
): Promise<{ queued: number; running: number; cancelling: number }> {
  const [row] = await db<{ queued: number; running: number; cancelling: number }[]>`
    select count(*) filter (where status = 'queued') as queued, count(*) filter (where status = 'running') as running,
      count(*) filter (where status = 'cancelling') as cancelling
    from job_runs where status in ('queued', 'running', 'cancelling', 'held')`;
  return row ?? { queued: 0, running: 0, cancelling: 0 };
}

/**
 * Returns the age of the oldest run that has a ready step, in ms, or `null` if no step is ready. The steps are read once:
 * the database may have counted none when it last analyzed them, and would go through all of them for each open run.
 */
export async function oldestReadyMs(db: Queryable, reaches: readonly Reach[]): Promise<number | null> {
  const [row] = await db<{ ms: number | null }[]>`
    with waiting as materialized (
      select distinct s.job_run_id from job_run_steps s where s.status = 'ready' and ${stepWithin(db, reaches)})
    select (extract(epoch from clock_timestamp() - min(
      (select r.created_at from job_runs r where r.id = w.job_run_id and r.status in ('queued', 'running'))))
      * 1000)::bigint as ms
    from waiting w`;
  return row?.ms ?? null;
}

/** SQL condition: steps `s` of target runs that may be seen. For a caller who sees everything, nothing is looked up. */
function stepWithin(db: Queryable, reaches: readonly Reach[]) {
  if (reachesEverything(reaches)) return db`true`;
  return db`exists (select from job_run_targets tr join job_runs sr on sr.id = tr.job_run_id
    join jobs j on j.id = sr.job_id where tr.id = s.target_run_id and ${targetRunWithin(db, reaches)})`;
}

export interface SegmentQueueRow {
  id: number;
  name: string;
  ready: number;
  /** Leased steps, without those that were leased ahead of their turn. */
  running: number;
  /** Agents that a claim may lease steps to now, busy or not. */
  ableAgents: number;
  /** Free slots of these agents. */
  freeSlots: number;
  /** Since when steps have been ready here without an able agent; `null` if that is not the case. */
  stuckSince: Date | null;
}

/**
 * Returns the queue of each segment within the reaches, by name. Agents are able under the conditions of `claimSteps`,
 * but also while they are busy with their memory or load, which passes; a disk that can't be written needs a person.
 * Steps that run on other agents do not reduce the free slots.
 */
export async function segmentQueues(db: Queryable, reaches: readonly Reach[]): Promise<SegmentQueueRow[]> {
  return db<SegmentQueueRow[]>`
    with steps as (
      -- Two selects, because each status has its own index.
      select segment_id, sum(ready)::bigint as ready, sum(running)::bigint as running
      from (select segment_id, count(*) as ready, 0 as running
              from job_run_steps where status = 'ready' group by segment_id
            union all
            select segment_id, 0, count(distinct target_run_id)
              from job_run_steps where status = 'running' group by segment_id) s
      group by segment_id
    ), busy as (
      select agent_id, count(distinct target_run_id) as steps
      from job_run_steps where status = 'running' group by agent_id
    ), able as (
      select a.segment_id, count(*) as agents, sum(greatest(0, s.slots - coalesce(busy.steps, 0)))::bigint as free
      from agent_sessions s
      join agents a on a.id = s.agent_id
      join segments g on g.id = a.segment_id
      left join busy on busy.agent_id = a.id
      where ${isAble(db)} and s.busy_reason is distinct from 'disk'
      group by a.segment_id
    ), queues as materialized (
      select g.id, g.name, coalesce(steps.ready, 0) as ready, coalesce(steps.running, 0) as running,
        coalesce(able.agents, 0) as able_agents, coalesce(able.free, 0) as free_slots
      from segments g left join steps on steps.segment_id = g.id left join able on able.segment_id = g.id
      where ${segmentWithin(db, reaches, 'g.id')}
    ), waiting as materialized (
      select st.segment_id, st.job_run_id, min(st.waits_since) as since, bool_or(st.waits_since is null) as since_start
      from job_run_steps st
      where st.status = 'ready' and st.segment_id = any(array(select id from queues where ready > 0 and able_agents = 0))
      group by st.segment_id, st.job_run_id
    ), started as materialized (
      -- Each run is looked up once, however many steps and segments of it wait.
      select array_agg(w.segment_id) as segment_ids, (select r.created_at from job_runs r where r.id = w.job_run_id) as at
      from waiting w where w.since_start group by w.job_run_id
    ), waits as materialized (
      select segment_id, min(at) as since
      from (select segment_id, least(since, clock_timestamp()) as at from waiting
            union all
            select unnest(segment_ids), at from started) w
      group by segment_id
    ), gone as materialized (
      select a.segment_id, max(least(s.disconnected_at, s.expires_at)) as at
      from agent_sessions s join agents a on a.id = s.agent_id
      where least(s.disconnected_at, s.expires_at) <= clock_timestamp()
      group by a.segment_id
    )
    select q.*, case when waits.since is not null then greatest(waits.since, gone.at) end as stuck_since
    from queues q left join waits on waits.segment_id = q.id left join gone on gone.segment_id = q.id
    order by q.name`;
}

/** Returns those of the segments that have agents, none of which could take a step now. */
export async function segmentsThatWait(db: Queryable, segmentIds: readonly number[]): Promise<Set<number>> {
  const rows = await db<{ id: number }[]>`
    select g.id from segments g
     where g.id = any(${segmentIds as number[]}::bigint[])
       and exists (select from agents a where a.segment_id = g.id and a.state <> 'revoked')
       and not exists (
             select from agent_sessions s join agents a on a.id = s.agent_id
              where a.segment_id = g.id and ${isAble(db)})`;
  return new Set(rows.map(({ id }) => id));
}
