import type { JobListItem } from '@opsconductor/protocol';
import type { Reach } from '../auth/authority.ts';
import type { Queryable, Tx } from './connection.ts';
import { containsPattern, decodeCursor } from './cursor.ts';
import { jobWithin, reachesEverything, targetRunWithin } from './visibility.ts';

export interface JobRow {
  id: number;
  name: string;
  description: string;
  categoryId: number;
  category: string;
  version: number;
  isActive: boolean;
  stepCount: number;
  stepTypes: string[];
  createdByName: string | null;
  createdAt: Date;
  updatedAt: Date;
}

export interface ListedJobRow extends JobRow {
  /** The last 20 runs, newest first, as the API gives them. */
  lastRuns: JobListItem['lastRuns'];
}

const maxLastRuns = 20;

/** Reserves an id, so that what is sealed for the row can name it before INSERT. */
export async function nextJobId(tx: Tx): Promise<number> {
  const [row] = await tx<{ id: number }[]>`select nextval(pg_get_serial_sequence('jobs', 'id')) as id`;
  if (row === undefined) throw new Error('nextval answered nothing');
  return row.id;
}

export async function insertJob(
  tx: Tx,
  job: {
    id: number;
    name: string;
    description: string;
    categoryId: number;
    stepTypes: string[];
    stepCount: number;
    dataKey: string;
    createdBy: number;
  },
): Promise<void> {
  await tx`
    insert into jobs (id, name, description, category_id, step_types, step_count, data_key, created_by)
    overriding system value
    values (${job.id}, ${job.name}, ${job.description}, ${job.categoryId}, ${job.stepTypes}, ${job.stepCount}, ${job.dataKey},
            ${job.createdBy})`;
}

export async function findJob(
  sql: Queryable,
  id: number,
  reaches: readonly Reach[],
): Promise<JobRow | undefined> {
  const [row] = await sql<JobRow[]>`
    select ${jobColumns(sql)}
      from jobs j join categories c on c.id = j.category_id left join users u on u.id = j.created_by
     where j.id = ${id} and ${jobWithin(sql, reaches)}`;
  return row;
}

/** Locks a job's row: whoever changes it holds this. */
export async function lockJob(tx: Tx, id: number, reaches: readonly Reach[]): Promise<JobRow | undefined> {
  const locked = await tx`select 1 from jobs where id = ${id} for update`;
  return locked.length === 0 ? undefined : findJob(tx, id, reaches);
}

export async function setJobCategory(tx: Tx, id: number, categoryId: number): Promise<void> {
  await tx`update jobs set category_id = ${categoryId}, updated_at = clock_timestamp() where id = ${id}`;
}

/** Jobs by name with their last runs, one more than `limit` where there are more. */
export async function listJobs(
  sql: Queryable,
  query: { search?: string; category?: string; limit: number; cursor?: string },
  reaches: readonly Reach[],
): Promise<ListedJobRow[]> {
  const { search, category, limit, cursor } = query;
  const after = cursor === undefined ? undefined : decodeCursor(cursor, ['string', 'number'] as const);
  const pattern = search === undefined || search === '' ? undefined : containsPattern(search);
  // The page is cut before the runs are looked up: each listed job costs one descent of the index (job_id, id DESC).
  return sql<ListedJobRow[]>`
    with page as materialized (
      select j.* from jobs j
       where ${jobWithin(sql, reaches)}
         and ${category === undefined ? sql`true` : sql`j.category_id = (select id from categories where name = ${category})`}
         and ${pattern === undefined ? sql`true` : sql`(j.name ilike ${pattern} or j.description ilike ${pattern})`}
         and ${after === undefined ? sql`true` : sql`(j.name, j.id) > (${after[0]}::text, ${after[1]})`}
       order by j.name, j.id
       limit ${limit + 1}
    )
    select ${jobColumns(sql)}, runs.last_runs
      from page j
      join categories c on c.id = j.category_id
      left join users u on u.id = j.created_by
      cross join lateral (
        select coalesce(jsonb_agg(jsonb_build_object(
                 'id', r.id, 'status', r.status,
                 'createdAt', to_char(r.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
                 'executionTimeMs', r.execution_time_ms) order by r.id desc), '[]') as last_runs
          from (select * from job_runs where job_id = j.id order by id desc limit ${maxLastRuns}) r
      ) runs
     order by j.name, j.id`;
}

function jobColumns(sql: Queryable) {
  return sql`j.id, j.name, j.description, j.category_id, c.name as category, j.version, j.is_active, j.step_count, j.step_types,
             u.name as created_by_name, j.created_at, j.updated_at`;
}

export interface JobsHealthRow {
  jobs: number;
  openRuns: number;
  /** Open runs of which nothing began although `start_by` has passed. */
  overdueRuns: number;
  /** Types that active jobs use and that are not among the known ones. */
  unknownStepTypes: string[];
}

/** Counts what lies within the reaches; of a run of which only a part does, that part. */
export async function readJobsHealth(
  sql: Queryable,
  knownStepTypes: readonly string[],
  reaches: readonly Reach[],
): Promise<JobsHealthRow> {
  const [row] = await sql<JobsHealthRow[]>`
    select (select count(*)::int from jobs j where ${jobWithin(sql, reaches)}) as jobs,
           runs.open_runs, runs.overdue_runs,
           array(select distinct t from jobs j cross join unnest(j.step_types) t
                  where j.is_active and ${jobWithin(sql, reaches)} and t <> all(${[...knownStepTypes]}::text[])
                  order by t) as unknown_step_types
      from (${openRuns(sql, reaches)}) runs`;
  if (row === undefined) throw new Error('aggregates answered nothing');
  return row;
}

function openRuns(sql: Queryable, reaches: readonly Reach[]) {
  if (reachesEverything(reaches)) {
    return sql`
      select count(*)::int as open_runs,
             (count(*) filter (where started_at is null and start_by < clock_timestamp()))::int as overdue_runs
        from job_runs where status in ('queued', 'running', 'cancelling', 'held')`;
  }
  return sql`
    select count(*)::int as open_runs,
           (count(*) filter (where not begun and start_by < clock_timestamp()))::int as overdue_runs
      from (select r.start_by, bool_or(tr.started_at is not null) as begun
              from job_runs r
              join jobs j on j.id = r.job_id
              join job_run_targets tr on tr.job_run_id = r.id and ${targetRunWithin(sql, reaches)}
             where r.status in ('queued', 'running', 'cancelling', 'held')
             group by r.id
            having bool_or(tr.status in ('queued', 'running', 'cancelling', 'held'))) seen`;
}
