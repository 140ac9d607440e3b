// The content of files and artifacts: pieces in order, complete once a digest is set.
import { limits } from '@opsconductor/protocol';
import { takeChangeLock } from '../database/change-lock.ts';
import type { Queryable, Sql, Tx } from '../database/connection.ts';

export interface ContentRow {
  id: string;
  size: number;
  /** Number of stored pieces. */
  parts: number;
  /** In hex; `null` until the content is complete. */
  sha256: string | null;
  /** Wrapped. */
  dataKey: string;
}

/** Makes the content of a file or an artifact, which has the same id, without any part yet. */
export async function insertContent(
  tx: Tx,
  content: { id: string; owner: 'file' | 'artifact'; size: number; dataKey: string },
): Promise<void> {
  const { id, owner, size, dataKey } = content;
  await tx`
    insert into contents (id, file_id, artifact_id, size, data_key)
    values (${id}, ${owner === 'file' ? id : null}, ${owner === 'artifact' ? id : null}, ${size}, ${dataKey})`;
}

export async function findContent(db: Queryable, id: string): Promise<ContentRow | undefined> {
  const [row] = await db<ContentRow[]>`${selectContents(db)} where id = ${id}`;
  return row;
}

/** Locks a content, so that pieces are added one after the other. */
export async function lockContent(tx: Tx, id: string): Promise<ContentRow | undefined> {
  const [row] = await tx<ContentRow[]>`${selectContents(tx)} where id = ${id} for update`;
  return row;
}

function selectContents(db: Queryable) {
  return db`select id, size, parts, encode(sha256, 'hex') as sha256, data_key from contents`;
}

/** Adds the next pieces. The caller has locked the content. */
export async function appendParts(
  tx: Tx,
  { id, parts }: Pick<ContentRow, 'id' | 'parts'>,
  sealed: readonly Buffer[],
): Promise<void> {
  const rows = JSON.stringify(
    sealed.map((bytes, at) => ({ number: parts + at, sealed: bytes.toString('base64') })),
  );
  // base64 in a single text is shorter than the hex of a bytea parameter.
  await tx`
    insert into content_parts (content_id, number, sealed)
    select ${id}, p.number, decode(p.sealed, 'base64')
    from json_to_recordset(${rows}::text::json) as p(number integer, sealed text)`;
  await tx`
    update contents set parts = parts + ${sealed.length}, touched_at = clock_timestamp() where id = ${id}`;
}

/** Returns pieces from a number on, in order. */
export async function readParts(db: Queryable, id: string, from: number, count: number): Promise<Buffer[]> {
  const rows = await db<{ sealed: string }[]>`
    select encode(sealed, 'base64') as sealed from content_parts
    where content_id = ${id} and number >= ${from} and number < ${from + count} order by number`;
  return rows.map((row) => Buffer.from(row.sealed, 'base64'));
}

/** Marks the content as complete. Returns false if it already is, or is gone. */
export async function finishContent(tx: Tx, id: string, sha256: string): Promise<boolean> {
  const rows = await tx`
    update contents set sha256 = decode(${sha256}, 'hex') where id = ${id} and sha256 is null returning 1`;
  return rows.length === 1;
}

/** Once more changes than this are recorded, they are added up, so that hardly more than this are ever read. */
const maxChanges = 500;

/** Returns how many bytes all files and artifacts take. Contents that are still arriving count with their full size. */
export async function storedContentBytes(db: Queryable): Promise<number> {
  const [row] = await db<{ bytes: number; changes: number }[]>`
    select coalesce(sum(bytes), 0)::bigint as bytes, count(*)::int as changes from content_bytes`;
  if (row === undefined) return 0;
  if (row.changes > maxChanges) await addUpContentBytes(db);
  return row.bytes;
}

const contentsLock = 0x0_95c0_63;
/** At least as many contents as can begin at the same moment. */
const mostAtOnce = 64;

/**
 * Returns how many bytes all files and artifacts take, so that the caller can decide whether `size` more have room below
 * `most`. If they may be among the last that do, others who want to begin one wait until the transaction ends.
 */
export async function bytesBeside(tx: Tx, { size, most }: { size: number; most: number }): Promise<number> {
  const stored = await storedContentBytes(tx);
  if (size * mostAtOnce <= most - stored) return stored;
  await takeChangeLock(tx, contentsLock);
  return storedContentBytes(tx);
}

/** Replaces all recorded changes by their sum. Two concurrent calls take different changes, and neither waits. */
export async function addUpContentBytes(db: Queryable): Promise<void> {
  await db`
    with noted as (
      delete from content_bytes where id in (select id from content_bytes for update skip locked) returning bytes
    )
    insert into content_bytes (bytes) select sum(bytes) from noted having count(*) > 0`;
}

/** Deletes contents that nobody has continued. Returns how many. */
export async function deleteUnfinishedContents(sql: Sql, now: Date): Promise<number> {
  const [row] = await sql<{ count: number }[]>`
    with stale as (
      select id from contents where sha256 is null
        and touched_at < ${new Date(now.getTime() - limits.unfinishedContentMs)}
    ), files_gone as (
      delete from files where id in (select id from stale) returning 1
    ), artifacts_gone as (
      delete from run_artifacts where id in (select id from stale) returning 1
    )
    select (select count(*) from files_gone)::int + (select count(*) from artifacts_gone)::int as count`;
  return row?.count ?? 0;
}
