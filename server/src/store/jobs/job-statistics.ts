// Statistics of a job's runs. The newest runs are read from the index (job_id, id DESC), so that a job with a million
// runs costs no more than one with some thousands.
import type { RunStatus } from '@opsconductor/protocol';
import type { Queryable } from '../database/connection.ts';
import { executionTimeMs } from '../runs/runs.ts';

export interface JobStatisticsRow {
  since: Date;
  runs: number;
  byStatus: Record<string, number>;
  open: number;
  p50Ms: number | null;
  p90Ms: number | null;
  p99Ms: number | null;
  maxMs: number | null;
  last: { id: number; status: RunStatus; createdAt: string; executionTimeMs: number | null } | null;
  byDay: {
    day: string;
    runs: number;
    succeeded: number;
    failed: number;
    unknown: number;
    p50Ms: number | null;
  }[];
  /** How many runs were looked at, however old. */
  looked: number;
}

/**
 * Returns the figures of a job’s runs of the last days, of its newest `maxRuns` at most. Times are in ms, days in UTC.
 */
export async function readJobStatistics(
  sql: Queryable,
  jobId: number,
  { days, maxRuns }: { days: number; maxRuns: number },
): Promise<JobStatisticsRow> {
  const [row] = await sql<JobStatisticsRow[]>`
    with bounds as (
      select clock_timestamp() - make_interval(days => ${days}) as since
    ), newest as materialized (
      select r.id, r.status, r.created_at, ${executionTimeMs(sql)} as execution_time_ms
        from job_runs r where r.job_id = ${jobId} order by r.id desc limit ${maxRuns}
    ), considered as (
      select n.*, n.status in ('queued', 'running', 'cancelling', 'held') as is_open
        from newest n, bounds b where n.created_at >= b.since
    ), all_together as (
      select count(*)::int as runs, (count(*) filter (where is_open))::int as open,
             percentile_disc(array[0.5, 0.9, 0.99, 1]) within group (order by execution_time_ms)
               filter (where not is_open) as times
        from considered
    )
    select b.since, a.runs, a.open, a.times[1] as "p50Ms", a.times[2] as "p90Ms", a.times[3] as "p99Ms",
           a.times[4] as "maxMs",
           (select coalesce(jsonb_object_agg(status, runs), '{}')
              from (select status, count(*) as runs from considered where not is_open group by status) s) as by_status,
           (select jsonb_build_object('id', id, 'status', status, 'executionTimeMs', execution_time_ms, 'createdAt',
                     to_char(created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'))
              from newest order by id desc limit 1) as last,
           (select coalesce(jsonb_agg(d order by d.day), '[]') from (
              select to_char(created_at at time zone 'UTC', 'YYYY-MM-DD') as day, count(*)::int as runs,
                     (count(*) filter (where status = 'succeeded'))::int as succeeded,
                     (count(*) filter (where status in ('failed', 'timed_out', 'partial')))::int as failed,
                     (count(*) filter (where status = 'unknown'))::int as unknown,
                     percentile_disc(0.5) within group (order by execution_time_ms) filter (where not is_open) as "p50Ms"
                from considered group by 1) d) as by_day,
           (select count(*)::int from newest) as looked
      from bounds b, all_together a`;
  if (row === undefined) throw new Error('aggregates answered nothing');
  return row;
}
