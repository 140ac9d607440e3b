// What `audit verify` reads from the database: positions with their rows, in order, and rows without a position.
import type { SealedRow } from '../../audit/leaf.ts';
import type { Queryable } from '../database/connection.ts';
import { sealedColumns } from './audit-seals.ts';

export interface PlaceRow {
  position: number;
  auditId: number;
  leafHash: Buffer;
  row: SealedRow | undefined;
}

/** Returns positions in order, with their rows if these still exist. The queries are short, so nothing is held up. */
export async function readPlaces(
  sql: Queryable,
  from: number,
  below: number,
  limit: number,
): Promise<PlaceRow[]> {
  const rows = await sql<(SealedRow & { position: number; auditId: number; leafHash: Buffer })[]>`
    select l.position, l.audit_id, l.leaf_hash, ${sealedColumns(sql)}
    from audit_leaves l left join audit_log a on a.id = l.audit_id
    where l.position >= ${from} and l.position < ${below} order by l.position limit ${limit}`;
  return rows.map(({ position, auditId, leafHash, ...row }) => ({
    position,
    auditId,
    leafHash,
    row: row.id === null ? undefined : row,
  }));
}

/** Returns rows that have no position and are not queued for one, so they were not written through the log. */
export async function strayRows(sql: Queryable, limit: number): Promise<number[]> {
  const rows = await sql<{ id: number }[]>`
    select a.id from audit_log a
    where not exists (select from audit_leaves l where l.audit_id = a.id)
      and not exists (select from audit_unsealed u where u.audit_id = a.id)
    order by a.id limit ${limit}`;
  return rows.map((row) => row.id);
}

/** Returns how many rows wait to be sealed, since when, and which of them are gone. */
export async function unsealedRows(
  sql: Queryable,
): Promise<{ count: number; oldestAgeS: number | null; missing: number[] }> {
  const [row] = await sql<{ count: number; oldestAgeS: number | null; missing: number[] }[]>`
    select count(*) as count, extract(epoch from clock_timestamp() - min(a.at))::float8 as oldest_age_s,
      coalesce(array_agg(u.audit_id) filter (where a.id is null), '{}') as missing
    from audit_unsealed u left join audit_log a on a.id = u.audit_id`;
  return row ?? { count: 0, oldestAgeS: null, missing: [] };
}
