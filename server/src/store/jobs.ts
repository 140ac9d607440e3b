import type { JobListItem } from '@opsconductor/protocol';
import type { Queryable, Tx } from './connection.ts';
import { containsPattern, decodeCursor } from './cursor.ts';

export interface JobRow {
  id: number;
  name: string;
  description: string;
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
    stepTypes: string[];
    stepCount: number;
    dataKey: string;
    createdBy: number;
  },
): Promise<void> {
  await tx`
    insert into jobs (id, name, description, step_types, step_count, data_key, created_by)
    overriding system value
    values (${job.id}, ${job.name}, ${job.description}, ${job.stepTypes}, ${job.stepCount}, ${job.dataKey},
            ${job.createdBy})`;
}

export async function findJob(sql: Queryable, id: number): Promise<JobRow | undefined> {
  const [row] = await sql<JobRow[]>`
    select ${jobColumns(sql)} from jobs j left join users u on u.id = j.created_by where j.id = ${id}`;
  return row;
}

/** Jobs by name with their last runs, one more than `limit` where there are more. */
export async function listJobs(
  sql: Queryable,
  query: { search?: string; limit: number; cursor?: string },
): Promise<ListedJobRow[]> {
  const { search, limit, cursor } = query;
  const after = cursor === undefined ? undefined : decodeCursor(cursor, ['string', 'number'] as const);
  const pattern = search === undefined || search === '' ? undefined : containsPattern(search);
  // The page is cut before the runs are looked up: each listed job costs one descent of the index (job_id, id DESC).
  return sql<ListedJobRow[]>`
    with page as materialized (
      select j.* from jobs j
       where ${pattern === undefined ? sql`true` : sql`(j.name ilike ${pattern} or j.description ilike ${pattern})`}
         and ${after === undefined ? sql`true` : sql`(j.name, j.id) > (${after[0]}::text, ${after[1]})`}
       order by j.name, j.id
       limit ${limit + 1}
    )
    select ${jobColumns(sql)}, runs.last_runs
      from page j
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
  return sql`j.id, j.name, j.description, j.version, j.is_active, j.step_count, j.step_types,
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

export async function readJobsHealth(
  sql: Queryable,
  knownStepTypes: readonly string[],
): Promise<JobsHealthRow> {
  const [row] = await sql<JobsHealthRow[]>`
    select (select count(*)::int from jobs) as jobs, runs.open_runs, runs.overdue_runs,
           array(select distinct t from jobs j cross join unnest(j.step_types) t
                  where j.is_active and t <> all(${[...knownStepTypes]}::text[]) order by t) as unknown_step_types
      from (select count(*)::int as open_runs,
                   (count(*) filter (where started_at is null and start_by < clock_timestamp()))::int as overdue_runs
              from job_runs where status in ('queued', 'running', 'cancelling', 'held')) runs`;
  if (row === undefined) throw new Error('aggregates answered nothing');
  return row;
}
