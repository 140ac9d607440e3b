// The data that seals the audit log: the queue of unsealed rows, leaves, nodes, checkpoints, and retention notes.
import type { SealedRow } from '../../audit/leaf.ts';
import type { Queryable, Tx } from '../database/connection.ts';

const sealLock = 0x0_a0d1_7001;

export interface CheckpointRow {
  number: number;
  size: number;
  sealedAt: Date;
  note: string;
}

/** Tries to become the one sealer until the transaction ends. Returns whether this succeeded. */
export async function lockSealing(tx: Tx): Promise<boolean> {
  const [row] = await tx<{ isHeld: boolean }[]>`select pg_try_advisory_xact_lock(${sealLock}) as is_held`;
  return row?.isHeld === true;
}

/** Columns of `audit_log a` that make a `SealedRow`. */
export function sealedColumns(sql: Queryable) {
  return sql`a.id, to_char(a.at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as at, a.actor_kind, a.actor_id,
    a.actor_name, a.action, a.object_kind, a.object_id, a.detail, a.address, a.request_id, a.segment_id, a.category_id`;
}

/**
 * Takes rows out of the queue, in the order of their ids. `missing` are ids that were queued but are no longer in the
 * log. Rows that already have a position are left out; the queue of a restored dump may contain such rows.
 */
export async function takeUnsealed(
  tx: Tx,
  limit: number,
): Promise<{ taken: number; rows: SealedRow[]; missing: number[] }> {
  const found = await tx<(SealedRow & { auditId: number; isSealed: boolean })[]>`
    with taken as (
      delete from audit_unsealed where ctid = any(array(select ctid from audit_unsealed limit ${limit}))
      returning audit_id
    )
    select t.audit_id, exists (select from audit_leaves l where l.audit_id = t.audit_id) as is_sealed,
      ${sealedColumns(tx)}
    from (select distinct audit_id from taken) t left join audit_log a on a.id = t.audit_id
    order by t.audit_id`;
  const fresh = found.filter((row) => !row.isSealed);
  return {
    taken: found.length,
    rows: fresh.filter((row) => row.id !== null),
    missing: fresh.filter((row) => row.id === null).map((row) => row.auditId),
  };
}

/** Returns how many rows of the audit log have no position yet. */
export async function countUnsealed(sql: Queryable): Promise<number> {
  const [row] = await sql<{ n: number }[]>`select count(*) as n from audit_unsealed`;
  return row?.n ?? 0;
}

/** Gives rows their positions, starting at `position`. */
export async function insertLeaves(
  tx: Tx,
  position: number,
  auditIds: readonly number[],
  hashes: readonly Uint8Array[],
): Promise<void> {
  await tx`
    insert into audit_leaves (position, audit_id, leaf_hash)
    select ${position}::bigint + place - 1, audit_id,
      substring(${Buffer.concat(hashes)}::bytea from ((place - 1) * 32 + 1)::integer for 32)
    from unnest(${auditIds as number[]}::bigint[]) with ordinality as u(audit_id, place)`;
}

export interface NodeRow {
  level: number;
  index: number;
  hash: Uint8Array;
}

/** Stores nodes of the tree, whose hashes have 32 bytes each. Fails if one of them is there. */
export async function insertNodes(tx: Tx, nodes: readonly NodeRow[]): Promise<void> {
  if (nodes.length === 0) return;
  await tx`
    insert into audit_nodes (level, index, hash)
    select level, index, substring(${Buffer.concat(nodes.map((node) => node.hash))}::bytea
      from ((place - 1) * 32 + 1)::integer for 32)
    from unnest(${nodes.map((node) => node.level)}::smallint[], ${nodes.map((node) => node.index)}::bigint[])
      with ordinality as u(level, index, place)`;
}

/** A range [from, to) of stored nodes at a level; leaves are level 0. */
export interface NodeRange {
  level: number;
  from: number;
  to: number;
}

/** Returns the hashes of each range, in order. */
export async function readNodeRanges(sql: Queryable, ranges: readonly NodeRange[]): Promise<Buffer[][]> {
  const found = await sql<{ place: number; hash: Buffer }[]>`
    with wanted as (
      select * from unnest(${ranges.map((range) => range.level)}::smallint[],
        ${ranges.map((range) => range.from)}::bigint[], ${ranges.map((range) => range.to)}::bigint[])
        with ordinality as u(level, first, past, place)
    )
    select w.place, n.index as at, n.hash from wanted w
      join audit_nodes n on w.level > 0 and n.level = w.level and n.index >= w.first and n.index < w.past
    union all
    select w.place, l.position, l.leaf_hash from wanted w
      join audit_leaves l on w.level = 0 and l.position >= w.first and l.position < w.past
    order by 1, 2`;
  const hashes = ranges.map((): Buffer[] => []);
  for (const { place, hash } of found) hashes[place - 1]?.push(hash);
  return hashes;
}

export async function latestCheckpoint(sql: Queryable): Promise<CheckpointRow | undefined> {
  const [row] = await sql<CheckpointRow[]>`
    select number, size, sealed_at, note from audit_checkpoints order by number desc limit 1`;
  return row;
}

export async function checkpointOfNumber(sql: Queryable, number: number): Promise<CheckpointRow | undefined> {
  const [row] = await sql<CheckpointRow[]>`
    select number, size, sealed_at, note from audit_checkpoints where number = ${number}`;
  return row;
}

/** Returns checkpoints after a number, in order. */
export async function checkpointsAfter(
  sql: Queryable,
  number: number,
  limit: number,
): Promise<CheckpointRow[]> {
  return sql<CheckpointRow[]>`
    select number, size, sealed_at, note from audit_checkpoints
    where number > ${number} order by number limit ${limit}`;
}

export async function insertCheckpoint(tx: Tx, row: CheckpointRow): Promise<void> {
  await tx`insert into audit_checkpoints ${tx({ ...row })}`;
}

/** Returns the database's time, but never a time before `notBefore`, that of the last checkpoint. */
export async function sealingTime(tx: Tx, notBefore: Date | undefined): Promise<Date> {
  const [row] = await tx<{ now: Date }[]>`
    select date_trunc('milliseconds', greatest(clock_timestamp(), ${notBefore ?? null}::timestamptz)) as now`;
  return row?.now ?? new Date();
}

// ------------------------------------------------------------------ retention

/**
 * Returns the size of the newest checkpoint that is older than this many days, or `undefined` if there is none or its
 * rows are already gone.
 */
export async function sizeSealedBefore(sql: Queryable, days: number): Promise<number | undefined> {
  const [row] = await sql<{ size: number }[]>`
    select size from (
      select size from audit_checkpoints
      where sealed_at < clock_timestamp() - make_interval(days => ${days})
      order by sealed_at desc, number desc limit 1) newest
    where size > (select coalesce(max(below), 0) from audit_retention)`;
  return row?.size;
}

/** Notes that the rows below this position are removed; `note` says so, signed. */
export async function insertRetentionNote(tx: Tx, below: number, note: string): Promise<void> {
  await tx`insert into audit_retention (below, note) values (${below}, ${note})`;
}

/** Returns the position below which rows may be gone; 0 without a note. */
export async function retainedBelow(sql: Queryable): Promise<number> {
  const [row] = await sql<{ below: number }[]>`select coalesce(max(below), 0) as below from audit_retention`;
  return row?.below ?? 0;
}

/** Deletes the rows at positions [from, to), which a retention note must cover. Returns how many there were. */
export async function deleteRetained(sql: Queryable, from: number, to: number): Promise<number> {
  const result = await sql`
    delete from audit_log where id = any(array(
      select audit_id from audit_leaves where position >= ${from} and position < ${to}))`;
  return result.count;
}

export async function retentionNotes(sql: Queryable): Promise<{ below: number; note: string }[]> {
  return sql<{ below: number; note: string }[]>`select below, note from audit_retention order by below`;
}
