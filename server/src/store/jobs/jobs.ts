// A single job: its row, and what changes it. Lists are in job-list.ts, versions in job-versions.ts.
import type { JobState, Labels } from '@opsconductor/protocol';
import type { Reach } from '../../auth/authority.ts';
import type { Queryable, Tx } from '../database/connection.ts';
import { jobWithin } from '../people/visibility.ts';

/** Fields that lists and single jobs have in common. */
export interface JobRow {
  id: number;
  name: string;
  description: string;
  categoryId: number;
  category: string;
  version: number;
  state: JobState;
  labels: Labels;
  isTemplate: boolean;
  stepCount: number;
  stepTypes: string[];
  createdByName: string | null;
  createdAt: Date;
  updatedAt: Date;
}

export interface JobDetailRow extends JobRow {
  stateNote: string;
  madeFromJobId: number | null;
  madeFromVersion: number | null;
}

/** Reserves an id, so that what is sealed for the row can name it before the INSERT. */
export async function nextJobId(tx: Tx): Promise<number> {
  const [row] = await tx<{ id: number }[]>`select nextval(pg_get_serial_sequence('jobs', 'id')) as id`;
  if (row === undefined) throw new Error('nextval answered nothing');
  return row.id;
}

export interface NewJob {
  id: number;
  name: string;
  description: string;
  categoryId: number;
  stepTypes: string[];
  stepCount: number;
  dataKey: string;
  createdBy: number;
  state: JobState;
  labels: Labels;
  isTemplate: boolean;
  madeFrom: { jobId: number; version: number } | null;
}

export async function insertJob(tx: Tx, job: NewJob): Promise<void> {
  await tx`
    insert into jobs (id, name, description, category_id, step_types, step_count, data_key, created_by, updated_by, state,
      labels, is_template, made_from_job_id, made_from_version)
    overriding system value
    values (${job.id}, ${job.name}, ${job.description}, ${job.categoryId}, ${job.stepTypes}, ${job.stepCount},
            ${job.dataKey}, ${job.createdBy}, ${job.createdBy}, ${job.state}, ${tx.json(job.labels)}, ${job.isTemplate},
            ${job.madeFrom?.jobId ?? null}, ${job.madeFrom?.version ?? null})`;
}

/**
 * Returns a job that lies within the reaches.
 *
 * @param options.alsoDeleted also one that was deleted and has runs: its versions stay as long as these
 */
export async function findJob(
  sql: Queryable,
  id: number,
  reaches: readonly Reach[],
  { alsoDeleted = false }: { alsoDeleted?: boolean } = {},
): Promise<JobDetailRow | undefined> {
  const [row] = await sql<JobDetailRow[]>`
    select ${jobColumns(sql)}, j.state_note, j.made_from_job_id, j.made_from_version
      from jobs j join categories c on c.id = j.category_id left join users u on u.id = j.created_by
     where j.id = ${id} and ${alsoDeleted ? sql`true` : sql`j.deleted_at is null`} and ${jobWithin(sql, reaches)}`;
  return row;
}

/** Returns the id of the job with this name, regardless of the caller's reaches. */
export async function findJobNamed(sql: Queryable, name: string): Promise<number | undefined> {
  const [row] = await sql<{ id: number }[]>`select id from jobs where name = ${name} and deleted_at is null`;
  return row?.id;
}

/** Locks a job's row; everyone who changes the job holds this lock. Runs can still be started. */
export async function lockJob(
  tx: Tx,
  id: number,
  reaches: readonly Reach[],
): Promise<JobDetailRow | undefined> {
  const locked = await tx`select 1 from jobs where id = ${id} for no key update`;
  return locked.length === 0 ? undefined : findJob(tx, id, reaches);
}

/** Does the same, and also keeps runs of the job from being started until the transaction ends. */
export async function lockJobAgainstRuns(
  tx: Tx,
  id: number,
  reaches: readonly Reach[],
): Promise<JobDetailRow | undefined> {
  const locked = await tx`select 1 from jobs where id = ${id} for update`;
  return locked.length === 0 ? undefined : findJob(tx, id, reaches);
}

/** Returns the data key of a job that exists, wrapped with a master key. */
export async function dataKeyOfJob(tx: Queryable, id: number): Promise<string> {
  const [row] = await tx<{ dataKey: string }[]>`select data_key from jobs where id = ${id}`;
  if (row === undefined) throw new Error(`there is no job ${id}`);
  return row.dataKey;
}

/** Makes another version the current one. */
export async function setJobVersion(
  tx: Tx,
  id: number,
  job: {
    version: number;
    name: string;
    description: string;
    stepTypes: string[];
    stepCount: number;
    updatedBy: number;
  },
): Promise<void> {
  await tx`
    update jobs set version = ${job.version}, name = ${job.name}, description = ${job.description},
      step_types = ${job.stepTypes}, step_count = ${job.stepCount}, updated_at = clock_timestamp(),
      updated_by = ${job.updatedBy}
    where id = ${id}`;
}

/** Changes what belongs to the job rather than to a version. Omitted fields keep their values. */
export async function setJobSettings(
  tx: Tx,
  id: number,
  { categoryId, labels, isTemplate }: { categoryId?: number; labels?: Labels; isTemplate?: boolean },
  updatedBy: number,
): Promise<void> {
  await tx`
    update jobs set category_id = coalesce(${categoryId ?? null}::bigint, category_id),
      labels = coalesce(${labels === undefined ? null : tx.json(labels)}::jsonb, labels),
      is_template = coalesce(${isTemplate ?? null}::boolean, is_template),
      updated_at = clock_timestamp(), updated_by = ${updatedBy}
    where id = ${id}`;
}

/** @throws {PostgresError} if the state may not follow the current one. */
export async function setJobState(
  tx: Tx,
  ids: readonly number[],
  { state, note, updatedBy }: { state: JobState; note: string; updatedBy: number },
): Promise<void> {
  await tx`
    update jobs set state = ${state}, state_note = ${note}, updated_at = clock_timestamp(), updated_by = ${updatedBy}
    where id = any(${ids as number[]}::bigint[])`;
}

/** Returns open runs of these jobs, oldest first, up to `limit`. */
export async function openRunsOf(
  sql: Queryable,
  jobIds: readonly number[],
  limit: number,
): Promise<{ jobId: number; runId: number }[]> {
  return sql<{ jobId: number; runId: number }[]>`
    select job_id, id as run_id from job_runs
     where status in ('queued', 'running', 'cancelling', 'held') and job_id = any(${jobIds as number[]}::bigint[])
     order by id limit ${limit}`;
}

/**
 * Deletes jobs. Those without runs are deleted completely, with their versions and names. Those with runs disappear
 * from all lists, but their rows and versions stay as long as runs refer to them. Returns how many were deleted
 * completely.
 */
export async function deleteJobs(tx: Tx, ids: readonly number[], deletedBy: number): Promise<number> {
  const gone = await tx`
    delete from jobs j where j.id = any(${ids as number[]}::bigint[])
      and not exists (select from job_runs r where r.job_id = j.id)`;
  await tx`
    update jobs set deleted_at = clock_timestamp(), updated_by = ${deletedBy}
     where id = any(${ids as number[]}::bigint[])`;
  return gone.count;
}

/** Removes deleted jobs that no run refers to any more. */
export async function dropDeletedJobs(tx: Queryable): Promise<void> {
  await tx`
    delete from jobs j where j.deleted_at is not null
      and not exists (select from job_runs r where r.job_id = j.id)`;
}

/** The columns of a `JobRow`, for the aliases `j`, `c` (its category) and `u` (its creator). */
export function jobColumns(sql: Queryable) {
  return sql`j.id, j.name, j.description, j.category_id, c.name as category, j.version, j.state, j.labels, j.is_template,
             j.step_count, j.step_types, u.name as created_by_name, j.created_at, j.updated_at`;
}
