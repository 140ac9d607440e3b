// In which segments and from which runs a claim takes steps: by priority, then by how much each run has in flight
// (ADR 0018). Parts of the statement in `claims.ts`.
import type { Queryable } from '../../database/connection.ts';
import type { CandidateRun, ClaimAmong } from './claims.ts';

/**
 * How many runs of a segment a claim looks at, by priority and age. It takes steps of those among them that have the
 * highest priority and the least in flight.
 */
const maxRunsLookedAt = 256;
/**
 * How many runs behind those, of the same priority as the last, it also looks at. They begin at a random place, so that
 * no run waits forever.
 */
const maxYoungerRunsLookedAt = 64;
/** How many runs of a segment a claim takes steps from. */
const maxRunsTakenFrom = 64;

/**
 * One ready step of each segment is enough. `limit 1` in scalar subqueries, because for `exists … or exists …` the
 * database may read all ready steps in advance.
 */
export function segmentsWithReadySteps(db: Queryable) {
  return db`
      select g.id, g.key_generation from segments g
      where (select true from job_run_steps st
          where st.segment_id = g.id and st.status = 'ready' and st.not_before is null limit 1)
        or (select true from job_run_steps st
          where st.segment_id = g.id and st.status = 'ready' and st.not_before <= (select clock_timestamp()) limit 1)`;
}

/** SQL: the segments of the runs that a claim is restricted to, with the generations of their keys. */
export function segmentsOf(db: Queryable, { runs }: ClaimAmong) {
  const ids = [...new Set(runs.map(({ segmentId }) => segmentId))];
  return db`
      select g.id, g.key_generation from segments g where g.id = any(${ids}::bigint[])`;
}

/**
 * The runs from which steps may be taken, with how many each has in flight. They are found by skipping from one run to
 * the next in the index of ready steps: the oldest ones, and if there are many, also some of those behind them.
 */
export function candidateRuns(db: Queryable) {
  return db`
      select demand.segment_id, demand.capabilities, demand.total, candidate.*, 0::bigint as after_id
      from demand cross join lateral (
        with recursive run as (
          (select st.claim_rank, st.job_run_id, 1 as number from job_run_steps st
            where st.segment_id = demand.segment_id and st.status = 'ready' and st.not_before is null
              and (st.needs is null or st.needs <@ demand.capabilities)
            order by st.segment_id, st.not_before, st.claim_rank, st.job_run_id limit 1)
          union all
          select next.*, run.number + 1 from run cross join lateral (
            select st.claim_rank, st.job_run_id from job_run_steps st
            where st.segment_id = demand.segment_id and st.status = 'ready' and st.not_before is null
              and (st.claim_rank, st.job_run_id) > (run.claim_rank, run.job_run_id)
              and (st.needs is null or st.needs <@ demand.capabilities)
            order by st.segment_id, st.not_before, st.claim_rank, st.job_run_id limit 1) next
          where run.number < ${maxRunsLookedAt}
        ), behind as (
          select first.claim_rank, first.job_run_id as after, (
              select st.job_run_id from job_run_steps st
              where st.segment_id = demand.segment_id and st.status = 'ready' and st.not_before is null
                and st.claim_rank = first.claim_rank
              order by st.segment_id, st.not_before, st.claim_rank, st.job_run_id desc limit 1) as last
          from run first where first.number = ${maxRunsLookedAt}
        ), younger as (
          select claim_rank, after + floor(random() * greatest(last - after, 0))::bigint as job_run_id, 0 as number
          from behind
          union all
          select next.*, younger.number + 1 from younger cross join lateral (
            select st.claim_rank, st.job_run_id from job_run_steps st
            where st.segment_id = demand.segment_id and st.status = 'ready' and st.not_before is null
              and st.claim_rank = younger.claim_rank and st.job_run_id > younger.job_run_id
              and (st.needs is null or st.needs <@ demand.capabilities)
            order by st.segment_id, st.not_before, st.claim_rank, st.job_run_id limit 1) next
          where younger.number < ${maxYoungerRunsLookedAt}
        ), looked_at as (
          select claim_rank, job_run_id from run
          union all
          select claim_rank, job_run_id from younger where number > 0
        )
        select run.claim_rank, run.job_run_id, (
            select count(distinct st.target_run_id) from job_run_steps st
            where st.segment_id = demand.segment_id and st.job_run_id = run.job_run_id and st.status = 'running'
          ) as in_flight
        from looked_at run
        order by run.claim_rank, in_flight, run.job_run_id limit ${maxRunsTakenFrom}) candidate
      where demand.total > 0`;
}

/** SQL: the runs that a claim is restricted to, in the form of those that it would look for; needs the CTE `demand`. */
export function givenRuns(db: Queryable, { runs }: ClaimAmong) {
  const column = (key: keyof ClaimAmong['runs'][number]) => runs.map((run) => run[key]);
  return db`
      select demand.segment_id, demand.capabilities, demand.total, given.claim_rank, given.job_run_id, given.in_flight,
        given.after_id
      from demand join unnest(${column('segmentId')}::bigint[], ${column('claimRank')}::smallint[], ${column('jobRunId')}::bigint[],
        ${column('inFlight')}::bigint[], ${column('afterId')}::bigint[])
        as given(segment_id, claim_rank, job_run_id, in_flight, after_id) using (segment_id)
      where demand.total > 0`;
}

/**
 * How many steps to take of which run: a row (segment_id, capabilities, claim_rank, job_run_id, after_id, n) for each
 * run. The free slots are dealt one by one, always to the run with the least in flight.
 *
 * A run's steps are selected as a range of the index of ready steps, and in its order. Otherwise, while the tables are
 * small, or were when they were analyzed, an index by run or by id would look just as good to the database, and would
 * be read whole once they are large.
 */
export function sharesOfRuns(db: Queryable) {
  return db`
    select segment_id, capabilities, claim_rank, job_run_id, after_id, count(*) as n from (
      select r.*, row_number() over (
        partition by r.segment_id order by r.claim_rank, r.in_flight + nth.n, r.job_run_id, nth.n) as place
      from candidates r cross join lateral (
        select row_number() over () as n from (
          select from job_run_steps st
          where st.segment_id = r.segment_id and st.status = 'ready' and st.not_before is null
            and (st.claim_rank, st.job_run_id, st.id) > (r.claim_rank, r.job_run_id, r.after_id)
            and (st.claim_rank, st.job_run_id) <= (r.claim_rank, r.job_run_id)
            and (st.needs is null or st.needs <@ r.capabilities)
          order by st.segment_id, st.not_before, st.claim_rank, st.job_run_id, st.id
          limit r.total) ready
      ) nth
    ) dealt
    where place <= (select total from demand where demand.segment_id = dealt.segment_id)
    group by segment_id, capabilities, claim_rank, job_run_id, after_id`;
}

/** The candidates, in only one of the rows. */
export function candidatesOnce(db: Queryable) {
  return db`case when st.id is not distinct from (select min(id) from leased) then (
        select jsonb_agg(jsonb_build_object('segmentId', segment_id, 'claimRank', claim_rank, 'jobRunId', job_run_id,
          'inFlight', in_flight)) from candidates) end`;
}

/** Whether a segment has as many candidates as a claim takes steps from, so that there may be more. */
export function hasMoreRuns(candidates: readonly CandidateRun[]): boolean {
  const counts = new Map<number, number>();
  for (const { segmentId } of candidates) counts.set(segmentId, (counts.get(segmentId) ?? 0) + 1);
  return [...counts.values()].some((count) => count >= maxRunsTakenFrom);
}
