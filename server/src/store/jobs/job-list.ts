// Lists of jobs, and the filters that they share with bulk actions.
import type { JobListItem, JobSort, JobState, RunStatus } from '@opsconductor/protocol';
import type { Reach } from '../../auth/authority.ts';
import { type Queryable, unprepared } from '../database/connection.ts';
import { containsPattern, decodeCursor } from '../database/cursor.ts';
import { type Condition, jobWithin } from '../people/visibility.ts';
import { executionTimeMs } from '../runs/runs.ts';
import { type JobRow, jobColumns } from './jobs.ts';

export interface JobFilter {
  search?: string | undefined;
  /** Path of a category; includes those below it. */
  category?: string | undefined;
  /** All must match; one without a value matches any value. */
  labels?: readonly { name: string; value: string | undefined }[] | undefined;
  stepType?: string | undefined;
  states?: readonly JobState[] | undefined;
  /** Name of the user who created it. */
  author?: string | undefined;
  /** Statuses of the last run; `none` means that it never ran. */
  lastResults?: readonly string[] | undefined;
  createdAfter?: Date | undefined;
  createdBefore?: Date | undefined;
  updatedAfter?: Date | undefined;
  updatedBefore?: Date | undefined;
  isTemplate?: boolean | undefined;
  madeFrom?: number | undefined;
}

export interface ListedJobRow extends JobRow {
  /** The last 20 runs, newest first, as the API returns them. */
  lastRuns: JobListItem['lastRuns'];
  /** What the list is sorted by: microseconds of the last change, or the id of the last run (0 if there is none). */
  sortKey: number;
}

const maxLastRuns = 20;
/** A list by last run is first searched among this many jobs that ran most recently. */
const recentJobs = 8_192;
const lastRunId = 'coalesce((select l.run_id from job_last_runs l where l.job_id = j.id), 0)';
const sorts = {
  name: { key: '0::bigint', order: 'j.name, j.id' },
  updated: {
    key: '(extract(epoch from j.updated_at) * 1000000)::bigint',
    order: 'j.updated_at desc, j.id desc',
  },
  lastRun: { key: lastRunId, order: 'sort_key desc, j.id desc' },
} as const satisfies Record<JobSort, { key: string; order: string }>;

type ListQuery = JobFilter & { sort: JobSort; limit: number; cursor?: string | undefined };

/** Returns jobs with their last runs, one more than `limit` if there are more. */
export async function listJobs(
  sql: Queryable,
  query: ListQuery,
  reaches: readonly Reach[],
): Promise<ListedJobRow[]> {
  if (query.sort === 'lastRun') {
    const rows = await listPage(sql, query, reaches, {
      key: 'l.run_id',
      from: sql`${ranLast(sql, query)} l join jobs j on j.id = l.job_id`,
    });
    // They fill the page, and all other jobs ran earlier.
    if (rows.length > query.limit) return rows;
  }
  return listPage(sql, query, reaches, { key: sorts[query.sort].key, from: sql`jobs j` });
}

/** SQL: the jobs that ran last, from the cursor on. Limited, because only few of them may match. */
function ranLast(sql: Queryable, { cursor }: ListQuery): Condition {
  const upTo = cursor === undefined ? undefined : decodeCursor(cursor, ['number', 'number'] as const)[0];
  return sql`(select job_id, run_id from job_last_runs
     where ${upTo === undefined ? sql`true` : sql`run_id <= ${upTo}`}
     order by run_id desc limit ${recentJobs})`;
}

async function listPage(
  sql: Queryable,
  query: ListQuery,
  reaches: readonly Reach[],
  { key, from }: { key: string; from: Condition },
): Promise<ListedJobRow[]> {
  const { order } = sorts[query.sort];
  // The page is cut before the runs are looked up: each listed job costs one descent of the index (job_id, id DESC).
  return unprepared(sql<ListedJobRow[]>`
    with page as materialized (
      select * from (
        select j.*, ${sql.unsafe(key)} as sort_key from ${from}
         where ${fits(sql, query, reaches)}
      ) j
      where ${after(sql, query.sort, query.cursor)}
      order by ${sql.unsafe(order)}
      limit ${query.limit + 1}
    )
    select ${jobColumns(sql)}, runs.last_runs, j.sort_key
      from page j
      join categories c on c.id = j.category_id
      left join users u on u.id = j.created_by
      cross join lateral (
        select coalesce(jsonb_agg(jsonb_build_object(
                 'id', r.id, 'status', r.status,
                 'createdAt', to_char(r.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
                 'executionTimeMs', ${executionTimeMs(sql)}) order by r.id desc), '[]') as last_runs
          from (select * from job_runs where job_id = j.id order by id desc limit ${maxLastRuns}) r
      ) runs
     order by ${sql.unsafe(order)}`);
}

/** Counts the matching jobs. */
export async function countJobs(
  sql: Queryable,
  filter: JobFilter,
  reaches: readonly Reach[],
): Promise<number> {
  const [row] = await unprepared(sql<{ count: number }[]>`
    select count(*)::int as count from jobs j where ${fits(sql, filter, reaches)}`);
  return row?.count ?? 0;
}

/** Returns what a cursor of a list with this sort order holds of the last row. */
export function cursorKeyOf(sort: JobSort, row: ListedJobRow): (string | number)[] {
  return sort === 'name' ? [row.name, row.id] : [row.sortKey, row.id];
}

function after(sql: Queryable, sort: JobSort, cursor: string | undefined): Condition {
  if (cursor === undefined) return sql`true`;
  if (sort === 'name') {
    const [name, id] = decodeCursor(cursor, ['string', 'number'] as const);
    return sql`(j.name, j.id) > (${name}::text, ${id}::bigint)`;
  }
  const [key, id] = decodeCursor(cursor, ['number', 'number'] as const);
  if (sort === 'lastRun') return sql`(j.sort_key, j.id) < (${key}::bigint, ${id}::bigint)`;
  return sql`(j.updated_at, j.id) < ('epoch'::timestamptz + ${key}::bigint * interval '1 microsecond', ${id}::bigint)`;
}

/** SQL condition on the alias `j`: jobs that exist, are within the reaches and match the filter. */
export function fits(sql: Queryable, filter: JobFilter, reaches: readonly Reach[]): Condition {
  const conditions: Condition[] = [sql`j.deleted_at is null`, jobWithin(sql, reaches)];
  const { search, category, labels, stepType, states, author, lastResults, isTemplate, madeFrom } = filter;
  if (search !== undefined && search !== '') {
    conditions.push(sql`j.search_text like lower(${containsPattern(search)}::text)`);
  }
  if (category !== undefined) {
    conditions.push(sql`j.category_id = any(array(select below.id from categories below
      where (select top.id from categories top where top.name = ${category}) = any(below.ancestor_ids)))`);
  }
  for (const { name, value } of labels ?? []) {
    conditions.push(
      value === undefined ? sql`j.labels ? ${name}` : sql`j.labels @> ${sql.json({ [name]: value })}::jsonb`,
    );
  }
  if (stepType !== undefined) conditions.push(sql`${stepType} = any(j.step_types)`);
  if (states !== undefined) conditions.push(sql`j.state = any(${states as string[]}::text[])`);
  if (author !== undefined) {
    conditions.push(
      sql`j.created_by = (select a.id from users a where lower(a.name) = lower(${author}) limit 1)`,
    );
  }
  if (lastResults !== undefined) {
    conditions.push(lastResultIn(sql, lastResults));
  }
  if (isTemplate !== undefined) conditions.push(sql`j.is_template = ${isTemplate}`);
  if (madeFrom !== undefined) conditions.push(sql`j.made_from_job_id = ${madeFrom}`);
  conditions.push(...within(sql, filter));
  return conditions.reduce((both, one) => sql`${both} and ${one}`);
}

/**
 * SQL: compares the last run, using the table that holds it (migration 0016). Finding it among the runs takes far
 * longer.
 */
function lastResultIn(sql: Queryable, lastResults: readonly string[]): Condition {
  const never = sql`(not j.has_run and not exists (select from job_last_runs l where l.job_id = j.id))`;
  const statuses = lastResults.filter((one) => one !== 'none');
  if (statuses.length === 0) return never;
  const [only, ...others] = statuses;
  // Comparing with one value takes half the time of comparing with a list of one, and every job that ran is compared.
  const isOne = others.length > 0 ? sql`l.status = any(${statuses}::text[])` : sql`l.status = ${only ?? ''}`;
  const ran = sql`exists (select from job_last_runs l where l.job_id = j.id and ${isOne})`;
  return statuses.length === lastResults.length ? ran : sql`(${ran} or ${never})`;
}

function within(sql: Queryable, filter: JobFilter): Condition[] {
  const { createdAfter, createdBefore, updatedAfter, updatedBefore } = filter;
  return [
    ...(createdAfter === undefined ? [] : [sql`j.created_at >= ${createdAfter}`]),
    ...(createdBefore === undefined ? [] : [sql`j.created_at < ${createdBefore}`]),
    ...(updatedAfter === undefined ? [] : [sql`j.updated_at >= ${updatedAfter}`]),
    ...(updatedBefore === undefined ? [] : [sql`j.updated_at < ${updatedBefore}`]),
  ];
}

export interface JobCountsRow {
  kinds: { state: JobState; category: string; jobs: number; templates: number }[];
  /** Of jobs that have run and are not archived. */
  lastResults: { lastResult: RunStatus; jobs: number }[];
}

/** Counts the jobs of each kind by which a list can be filtered, all at one moment. */
export async function countJobsByKind(sql: Queryable, reaches: readonly Reach[]): Promise<JobCountsRow> {
  const seen = sql`j.deleted_at is null and ${jobWithin(sql, reaches)}`;
  // Two queries, because counting by category, state and last result together takes longer than both.
  const [row] = await sql<JobCountsRow[]>`
    select (select coalesce(jsonb_agg(jsonb_build_object(
                     'state', k.state, 'category', c.name, 'jobs', k.jobs, 'templates', k.templates)), '[]')
              from (select j.category_id, j.state, count(*) as jobs,
                           count(*) filter (where j.is_template) as templates
                      from jobs j where ${seen} group by 1, 2) k
              join categories c on c.id = k.category_id) as kinds,
           (select coalesce(jsonb_agg(jsonb_build_object('lastResult', r.status, 'jobs', r.jobs)), '[]')
              from (select l.status, count(*) as jobs from job_last_runs l join jobs j on j.id = l.job_id
                     where j.state <> 'archived' and ${seen} group by 1) r) as last_results`;
  if (row === undefined) throw new Error('aggregates answered nothing');
  return row;
}

/** Returns the labels in use among visible jobs, by name, with the most used values of each. */
export async function listJobLabels(
  sql: Queryable,
  reaches: readonly Reach[],
  maxValues: number,
): Promise<{ name: string; jobs: number; values: string[] }[]> {
  return sql<{ name: string; jobs: number; values: string[] }[]>`
    with used as (
      select l.key as name, l.value, count(*)::int as jobs
        from jobs j cross join lateral jsonb_each_text(j.labels) l
       where j.deleted_at is null and j.labels <> '{}' and ${jobWithin(sql, reaches)}
       group by l.key, l.value
    )
    select name, sum(jobs)::int as jobs,
           (array_agg(value order by jobs desc, value) filter (where value <> ''))[1:${sql.unsafe(String(maxValues))}] as values
      from used group by name order by name`;
}
