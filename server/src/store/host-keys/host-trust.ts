// Host certificate authorities and revoked host keys of segments.
import type { HostTrust } from '@opsconductor/protocol';
import type { Queryable, Sql, Tx } from '../database/connection.ts';
import type { Condition } from '../people/visibility.ts';

export interface HostTrustRow extends Omit<HostTrust, 'createdAt' | 'createdBy'> {
  createdAt: Date;
  createdByName: string | null;
}

export async function listHostTrust(sql: Queryable, segmentId: number): Promise<HostTrustRow[]> {
  return sql<HostTrustRow[]>`
    select h.id, h.kind, h.hosts, h.key_type, h.fingerprint, h.public_key, h.note, h.created_at,
      u.name as created_by_name
    from segment_host_trust h left join users u on u.id = h.created_by
    where h.segment_id = ${segmentId} order by h.kind, h.id`;
}

/** Inserts an entry. Returns false if it already exists. */
export async function insertHostTrust(
  tx: Tx,
  row: Pick<HostTrust, 'kind' | 'hosts' | 'keyType' | 'fingerprint' | 'publicKey' | 'note'> & {
    segmentId: number;
    createdBy: number;
  },
): Promise<boolean> {
  const rows = await tx`
    insert into segment_host_trust
      ${tx(row, 'segmentId', 'kind', 'hosts', 'keyType', 'fingerprint', 'publicKey', 'note', 'createdBy')}
    on conflict do nothing returning 1`;
  return rows.length > 0;
}

/** Deletes one entry and returns what it was; `undefined` if the segment has none of this id. */
export async function deleteHostTrust(
  tx: Tx,
  segmentId: number,
  id: number,
): Promise<Pick<HostTrust, 'kind' | 'hosts' | 'fingerprint'> | undefined> {
  const [row] = await tx<Pick<HostTrust, 'kind' | 'hosts' | 'fingerprint'>[]>`
    delete from segment_host_trust where segment_id = ${segmentId} and id = ${id} returning kind, hosts, fingerprint`;
  return row;
}

/** Locks the segment against other changes of what it trusts. */
export async function lockHostTrust(tx: Tx, segmentId: number): Promise<void> {
  await tx`select 1 from segments where id = ${segmentId} for no key update`;
}

/**
 * Waits until nobody else has locked it, without keeping a lock. Call it before taking locks that others would wait
 * for.
 */
export async function awaitHostTrust(sql: Sql, segmentId: number): Promise<void> {
  await sql`select 1 from segments where id = ${segmentId} for no key update`;
}

/** Returns those of these keys that are revoked, as `segment fingerprint`. */
export async function revokedAmong(
  sql: Queryable,
  keys: readonly { segmentId: number; fingerprint: string }[],
): Promise<Set<string>> {
  if (keys.length === 0) return new Set();
  const rows = await sql<{ segmentId: number; fingerprint: string }[]>`
    select segment_id, fingerprint from segment_host_trust
    where kind = 'revoked' and fingerprint = any(${[...new Set(keys.map((key) => key.fingerprint))]})
      and segment_id = any(${[...new Set(keys.map((key) => key.segmentId))]}::bigint[])`;
  return new Set(rows.map((row) => `${row.segmentId} ${row.fingerprint}`));
}

/** What an agent is told about an entry. */
export interface TrustEntry {
  kind: HostTrust['kind'];
  hosts: string;
  key: string;
  fingerprint: string;
}

/** SQL: the entries of the segment in this column, as a JSON array. */
export function trustOfSegment(sql: Queryable, segment: Condition): Condition {
  return sql`(select coalesce(jsonb_agg(jsonb_build_object('kind', ht.kind, 'hosts', ht.hosts, 'key', ht.public_key,
      'fingerprint', ht.fingerprint) order by ht.id), '[]')
    from segment_host_trust ht where ht.segment_id = ${segment})`;
}

/** Returns whom a segment trusts for its hosts’ keys, in the form that agents get. */
export async function readTrust(sql: Queryable, segmentId: number): Promise<TrustEntry[]> {
  const [row] = await sql<{ trust: TrustEntry[] }[]>`
    select ${trustOfSegment(sql, sql`${segmentId}::bigint`)} as trust`;
  return row?.trust ?? [];
}
