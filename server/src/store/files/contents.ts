// What is in files and artifacts: pieces in order, whole once a digest is there.
import { limits } from '@opsconductor/protocol';
import type { Queryable, Sql, Tx } from '../database/connection.ts';

export interface ContentRow {
  id: string;
  size: number;
  /** Pieces that are stored. */
  parts: number;
  /** In hex; null until it is whole. */
  sha256: string | null;
  /** Wrapped. */
  dataKey: string;
}

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

/** Locks it, so that pieces come one after the other. */
export async function lockContent(tx: Tx, id: string): Promise<ContentRow | undefined> {
  const [row] = await tx<ContentRow[]>`${selectContents(tx)} where id = ${id} for update`;
  return row;
}

function selectContents(db: Queryable) {
  return db`select id, size, parts, encode(sha256, 'hex') as sha256, data_key from contents`;
}

/** Adds the next pieces; the content is locked. */
export async function appendParts(
  tx: Tx,
  { id, parts }: Pick<ContentRow, 'id' | 'parts'>,
  sealed: readonly Buffer[],
): Promise<void> {
  const rows = JSON.stringify(
    sealed.map((bytes, at) => ({ number: parts + at, sealed: bytes.toString('base64') })),
  );
  // base64 in one text is shorter than a bytea parameter's hex.
  await tx`
    insert into content_parts (content_id, number, sealed)
    select ${id}, p.number, decode(p.sealed, 'base64')
    from json_to_recordset(${rows}::text::json) as p(number integer, sealed text)`;
  await tx`
    update contents set parts = parts + ${sealed.length}, touched_at = clock_timestamp() where id = ${id}`;
}

/** Pieces from a number on, in order. */
export async function readParts(db: Queryable, id: string, from: number, count: number): Promise<Buffer[]> {
  const rows = await db<{ sealed: string }[]>`
    select encode(sealed, 'base64') as sealed from content_parts
    where content_id = ${id} and number >= ${from} and number < ${from + count} order by number`;
  return rows.map((row) => Buffer.from(row.sealed, 'base64'));
}

/** It is whole from here on; false where it is so already, or gone. */
export async function finishContent(tx: Tx, id: string, sha256: string): Promise<boolean> {
  const rows = await tx`
    update contents set sha256 = decode(${sha256}, 'hex') where id = ${id} and sha256 is null returning 1`;
  return rows.length === 1;
}

/** Changes since the last time that they were added up, of which so many are read at most, but for those of the moment. */
const maxChanges = 500;

/** Bytes that all files and artifacts take, those that are still on their way counted whole. */
export async function storedContentBytes(db: Queryable): Promise<number> {
  const [row] = await db<{ bytes: number; changes: number }[]>`
    select coalesce(sum(bytes), 0)::bigint as bytes, count(*)::int as changes from content_bytes`;
  if (row === undefined) return 0;
  if (row.changes > maxChanges) await addUpContentBytes(db);
  return row.bytes;
}

/** Makes one of the changes that are noted. Two at a time take others each, and none waits. */
export async function addUpContentBytes(db: Queryable): Promise<void> {
  await db`
    with noted as (
      delete from content_bytes where id in (select id from content_bytes for update skip locked) returning bytes
    )
    insert into content_bytes (bytes) select sum(bytes) from noted having count(*) > 0`;
}

/** Gives up what nobody went on with; returns how many. */
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
