// Files that users upload.
import { generalCategory, limits } from '@opsconductor/protocol';
import type { Reach } from '../../auth/authority.ts';
import { takeChangeLock } from '../database/change-lock.ts';
import type { Queryable, Sql, Tx } from '../database/connection.ts';
import { containsPattern, decodeCursor } from '../database/cursor.ts';
import type { MovedRow } from '../jobs/categories.ts';
import { jobWithin } from '../people/visibility.ts';

export interface FileRow {
  id: string;
  name: string;
  description: string;
  categoryId: number;
  category: string;
  size: number;
  parts: number;
  sha256: string | null;
  jobCount: number;
  createdAt: Date;
  createdBy: string | null;
  lastUsedAt: Date | null;
  /** When the last bytes arrived. */
  touchedAt: Date;
}

export async function insertFile(
  tx: Tx,
  file: { id: string; name: string; description: string; categoryId: number; createdBy: number },
): Promise<void> {
  await tx`insert into files ${tx(file, 'id', 'name', 'description', 'categoryId', 'createdBy')}`;
}

/** Whether there is a file of that name, and all of it is there. */
export async function isCompleteFile(db: Queryable, name: string): Promise<boolean> {
  const rows = await db`
    select 1 from files f join contents k on k.id = f.id where f.name = ${name} and k.sha256 is not null`;
  return rows.length > 0;
}

export async function countFiles(db: Queryable): Promise<number> {
  const [row] = await db<{ count: number }[]>`select count(*)::int as count from files`;
  return row?.count ?? 0;
}

/** Makes the beginnings of one user's uploads wait for each other. Above all locks without a user. */
const uploadsLock = 0x7c1 * 2 ** 32;

/**
 * Returns how many uploads of a user are not complete, and how many bytes are still to come. Other uploads that the user
 * begins wait until the transaction ends.
 */
export async function lockUnfinishedUploads(
  tx: Tx,
  userId: number,
): Promise<{ count: number; bytesToCome: number }> {
  await takeChangeLock(tx, uploadsLock + userId);
  const [row] = await tx<{ count: number; bytesToCome: number }[]>`
    select count(*)::int as count,
           coalesce(sum(greatest(0, k.size - k.parts::bigint * ${limits.contentPartBytes})), 0)::bigint as bytes_to_come
    from files f join contents k on k.id = f.id where f.created_by = ${userId} and k.sha256 is null`;
  return row ?? { count: 0, bytesToCome: 0 };
}

export async function findFile(
  db: Queryable,
  id: string,
  reaches: readonly Reach[],
): Promise<FileRow | undefined> {
  const [row] = await db<FileRow[]>`
    ${selectFiles(db)} where f.id = ${id} and ${jobWithin(db, reaches, 'f.category_id')}`;
  return row;
}

/** Locks a file. Returns `undefined` if there is none. */
export async function lockFile(tx: Tx, id: string): Promise<{ id: string } | undefined> {
  const [row] = await tx<{ id: string }[]>`select id from files where id = ${id} for update`;
  return row;
}

/** Returns files by name, one more than `limit` if there are more. */
export async function listFiles(
  sql: Sql,
  {
    search,
    isComplete,
    createdBy,
    limit,
    cursor,
  }: {
    search?: string;
    isComplete?: boolean | undefined;
    /** A user's id, and whether only their files are meant, or only those of others. */
    createdBy?: { userId: number; is: boolean } | undefined;
    limit: number;
    cursor?: string;
  },
  reaches: readonly Reach[],
): Promise<FileRow[]> {
  const after = cursor === undefined ? undefined : decodeCursor(cursor, ['string'] as const);
  const pattern = search === undefined ? undefined : containsPattern(search);
  return sql<FileRow[]>`
    ${selectFiles(sql)} where ${jobWithin(sql, reaches, 'f.category_id')}
      and ${pattern === undefined ? sql`true` : sql`(f.name ilike ${pattern} or f.description ilike ${pattern})`}
      and ${isComplete === undefined ? sql`true` : sql`(k.sha256 is not null) = ${isComplete}`}
      and ${createdBy === undefined ? sql`true` : sql`(f.created_by is not distinct from ${createdBy.userId}) = ${createdBy.is}`}
      and ${after === undefined ? sql`true` : sql`f.name > ${after[0]}`}
    order by f.name limit ${limit + 1}`;
}

function selectFiles(db: Queryable) {
  return db`
    select f.id, f.name, f.description, f.category_id, c.name as category, k.size, k.parts,
      encode(k.sha256, 'hex') as sha256, f.created_at, u.name as created_by, f.last_used_at, k.touched_at,
      (select count(*)::int from (${usesOf(db, db`f.name`)}) used) as job_count
    from files f join contents k on k.id = f.id join categories c on c.id = f.category_id
    left join users u on u.id = f.created_by`;
}

/** SQL: jobs whose current version names a file. */
function usesOf(db: Queryable, name: ReturnType<Queryable>) {
  return db`
    select j.id, j.name, j.category_id from job_versions v join jobs j on j.id = v.job_id and j.version = v.version
    where v.file_names @> array[${name}] and j.deleted_at is null`;
}

/** Returns the jobs that name a file, of those within the reaches, by name. */
export async function listFileUses(
  db: Queryable,
  name: string,
  reaches: readonly Reach[],
  limit: number,
): Promise<{ jobId: number; name: string; category: string }[]> {
  return db<{ jobId: number; name: string; category: string }[]>`
    select j.id as job_id, j.name, c.name as category
    from (${usesOf(db, db`${name}::text`)}) j join categories c on c.id = j.category_id
    where ${jobWithin(db, reaches)} order by j.name, j.id limit ${limit}`;
}

export async function deleteFile(tx: Tx, id: string): Promise<void> {
  await tx`delete from files where id = ${id}`;
}

/** Counts the files of a category, without those of the categories below it. */
export async function countFilesIn(tx: Tx, categoryId: number): Promise<number> {
  const [row] = await tx<{ count: number }[]>`
    select count(*)::int as count from files where category_id = ${categoryId}`;
  return row?.count ?? 0;
}

/**
 * Moves all files of these categories into another one.
 * @returns the files that were moved, each with where it was
 */
export async function moveFiles(tx: Tx, from: readonly number[], to: string): Promise<MovedRow[]> {
  return tx<MovedRow[]>`
    update files f set category_id = new.id
      from categories old, categories new
     where old.id = f.category_id and new.name = ${to} and f.category_id = any(${from as number[]}::bigint[])
    returning f.id, f.name, old.id as from_id, old.name as "from", new.id as to_id`;
}

/** Returns those of the names that are complete files which jobs of a category may use. */
export async function usableFileNames(
  db: Queryable,
  category: string,
  names: readonly string[],
): Promise<ReadonlySet<string>> {
  const rows = await db<{ name: string }[]>`
    select f.name from files f join contents k on k.id = f.id
    left join categories jc on jc.name = ${category}
    where f.name = any(${names as string[]}::text[]) and k.sha256 is not null
      and (f.category_id in (${generalCategory.id}, jc.id) or f.category_id = any(jc.ancestor_ids))`;
  return new Set(rows.map(({ name }) => name));
}

export interface UsableFile {
  id: string;
  name: string;
  sha256: string;
  size: number;
  jobId: number;
  jobVersion: number;
  stepNumber: number;
}

/**
 * Returns a complete file by its name or id, if the job of the step may use it: a file in the general category, in the
 * job's category, or in one above that. With it, the place of the step in its job's definition.
 */
export async function findUsableFile(
  db: Queryable,
  stepId: number,
  by: { name: string } | { id: string },
): Promise<UsableFile | undefined> {
  const [row] = await db<UsableFile[]>`
    select f.id, f.name, encode(k.sha256, 'hex') as sha256, k.size, r.job_id, r.job_version, st.step_number
    from job_run_steps st join job_runs r on r.id = st.job_run_id join jobs j on j.id = r.job_id
    join categories jc on jc.id = j.category_id
    join files f on ${'name' in by ? db`f.name = ${by.name}` : db`f.id = ${by.id}`}
    join contents k on k.id = f.id
    where st.id = ${stepId} and k.sha256 is not null
      and (f.category_id in (${generalCategory.id}, jc.id) or f.category_id = any(jc.ancestor_ids))`;
  return row;
}

/**
 * Keeps these files from being deleted until the transaction has committed. Waits while one of them is being deleted.
 * Call it before looking whether they are there.
 */
export async function holdFiles(tx: Tx, names: readonly string[]): Promise<void> {
  await tx`
    select count(*) from (
      select from files where name = any(${names as string[]}::text[]) order by id for key share) held`;
}

/**
 * Deletes some complete files that no job names and no step has requested since the given time. Returns what they were.
 */
export async function deleteUnusedFiles(
  tx: Tx,
  unusedSince: Date,
  limit: number,
): Promise<{ id: string; name: string; size: number; categoryId: number }[]> {
  const isUnused = tx`not exists (select from (${usesOf(tx, tx`f.name`)}) used)`;
  const locked = await tx<{ id: string }[]>`
    select f.id from files f join contents k on k.id = f.id
    where k.sha256 is not null and greatest(f.created_at, f.last_used_at) < ${unusedSince} and ${isUnused}
    order by f.id limit ${limit} for update of f skip locked`;
  if (locked.length === 0) return [];
  // Looked at again: a job that names one may have been saved between the look and the lock.
  return tx<{ id: string; name: string; size: number; categoryId: number }[]>`
    delete from files f using contents k
    where k.id = f.id and f.id = any(${locked.map(({ id }) => id)}::uuid[]) and ${isUnused}
    returning f.id, f.name, k.size, f.category_id`;
}

/** Records that a file is used, at most once an hour, which is precise enough to find unused files. */
export async function noteFileUse(db: Queryable, id: string): Promise<void> {
  await db`
    update files set last_used_at = clock_timestamp() where id = ${id}
      and (last_used_at is null or last_used_at < clock_timestamp() - interval '1 hour')`;
}
