import type { CredentialSort } from '@opsconductor/protocol';
import type { CredentialKind, SealedCredential } from '@opsconductor/protocol/sealing';
import type { Reach } from '../../auth/authority.ts';
import { toRotate } from '../agents/segments.ts';
import type { Queryable, Tx } from '../database/connection.ts';
import { containsPattern, decodeCursor } from '../database/cursor.ts';
import { type Condition, segmentWithin, unrestricted } from '../people/visibility.ts';

export interface CredentialRow {
  id: string;
  name: string;
  segmentId: number;
  segmentName: string;
  kind: CredentialKind;
  version: number;
  generation: number;
  toRotate: boolean;
  description: string;
  targetCount: number;
  /** `2027-01-31`. */
  expiresOn: string | null;
  createdAt: Date;
  createdByName: string | null;
  /** When the newest version was saved. */
  savedAt: Date;
}

/** Stores a credential with its first version. */
export async function insertCredential(
  tx: Tx,
  credential: {
    id: string;
    segmentId: number;
    name: string;
    description: string;
    expiresOn: string | null;
    kind: string;
    createdBy: number;
    sealed: SealedCredential;
  },
): Promise<void> {
  const { sealed, ...row } = credential;
  await tx`insert into credentials ${tx(row, 'id', 'segmentId', 'name', 'description', 'expiresOn', 'kind', 'createdBy')}`;
  await tx`
    insert into credential_versions (credential_id, version, generation, sealed)
    values (${row.id}, 1, ${sealed.generation}, ${tx.json(sealed)})`;
}

export async function findCredential(
  sql: Queryable,
  id: string,
  reaches: readonly Reach[],
): Promise<CredentialRow | undefined> {
  const [row] = await sql<CredentialRow[]>`
    ${selectCredentials(sql)} where c.id = ${id} and ${segmentWithin(sql, reaches, 'c.segment_id')}`;
  return row;
}

/**
 * Returns those of the names that belong to a credential in a segment that the reader has a right on, or that contains
 * a target they have a right on.
 */
export async function usableCredentialNames(
  sql: Queryable,
  names: readonly string[],
  reaches: readonly Reach[],
): Promise<Set<string>> {
  const rows = await sql<{ name: string }[]>`
    select distinct c.name from credentials c
     where c.name = any(${names as string[]}) and ${segmentWithin(sql, reaches, 'c.segment_id', { containing: true })}`;
  return new Set(rows.map((row) => row.name));
}

/**
 * Locks a credential, regardless of who asks, so that no target starts to use it meanwhile. Returns `undefined` if
 * there is none.
 */
export async function lockCredential(tx: Tx, id: string): Promise<CredentialRow | undefined> {
  const locked = await tx`select 1 from credentials where id = ${id} for update`;
  return locked.length === 0 ? undefined : findCredential(tx, id, unrestricted);
}

/** Days since 1970 of credentials without a day on which they expire: they come last. A day of the year 9999 is less. */
const neverExpires = 3_000_000;

/** Returns credentials in segments within the reaches, one more than `limit` if there are more. */
export async function listCredentials(
  sql: Queryable,
  query: {
    search?: string;
    segmentId?: number;
    toRotate?: boolean;
    expiresBy?: string;
    sort: CredentialSort;
    limit: number;
    cursor?: string;
  },
  reaches: readonly Reach[],
): Promise<CredentialRow[]> {
  const { search, segmentId, sort, limit, cursor } = query;
  const pattern = search === undefined || search === '' ? undefined : containsPattern(search);
  const day = sql`coalesce(c.expires_on - date '1970-01-01', ${neverExpires}::int)`;
  return sql<CredentialRow[]>`
    ${selectCredentials(sql)}
     where ${segmentWithin(sql, reaches, 'c.segment_id')}
       and ${pattern === undefined ? sql`true` : sql`(c.name ilike ${pattern} or c.description ilike ${pattern})`}
       and ${segmentId === undefined ? sql`true` : sql`c.segment_id = ${segmentId}`}
       and ${query.toRotate === undefined ? sql`true` : sql`${toRotate(sql, 'v', 's')} = ${query.toRotate}`}
       and ${query.expiresBy === undefined ? sql`true` : sql`c.expires_on <= ${query.expiresBy}`}
       and ${cursor === undefined ? sql`true` : afterCursor(sql, sort, cursor, day)}
     order by ${sort === 'name' ? sql`` : sql`${day},`} c.name, c.segment_id
     limit ${limit + 1}`;
}

/** A name is unique within its segment, so name and segment together are a complete key. */
function afterCursor(sql: Queryable, sort: CredentialSort, cursor: string, day: Condition): Condition {
  if (sort === 'name') {
    const [name, segmentId] = decodeCursor(cursor, ['string', 'number'] as const);
    return sql`(c.name, c.segment_id) > (${name}, ${segmentId})`;
  }
  const [after, name, segmentId] = decodeCursor(cursor, ['number', 'string', 'number'] as const);
  return sql`(${day}, c.name, c.segment_id) > (${after}::bigint, ${name}, ${segmentId})`;
}

/** Returns what a cursor of a list with this sort order holds of the last row. */
export function cursorKeyOf(sort: CredentialSort, row: CredentialRow): (string | number)[] {
  const key = [row.name, row.segmentId];
  if (sort === 'name') return key;
  const dayMs = 86_400_000;
  return [row.expiresOn === null ? neverExpires : Date.parse(row.expiresOn) / dayMs, ...key];
}

/** Stores a further version and makes it the current one. The caller has locked the credential's row. */
export async function insertCredentialVersion(
  tx: Tx,
  id: string,
  {
    version,
    sealed,
    ...beside
  }: { version: number; description: string; expiresOn: string | null; sealed: SealedCredential },
): Promise<void> {
  await tx`
    insert into credential_versions (credential_id, version, generation, sealed)
    values (${id}, ${version}, ${sealed.generation}, ${tx.json(sealed)})`;
  await tx`update credentials set version = ${version} where id = ${id}`;
  await updateCredential(tx, id, beside);
}

/** Changes the fields that are not sealed. The caller has locked the credential's row. */
export async function updateCredential(
  tx: Tx,
  id: string,
  { description, expiresOn }: { description: string; expiresOn: string | null },
): Promise<void> {
  await tx`update credentials set description = ${description}, expires_on = ${expiresOn} where id = ${id}`;
}

export async function deleteCredential(tx: Tx, id: string): Promise<void> {
  await tx`delete from credentials where id = ${id}`;
}

/** Returns the current version of a credential as a lease contains it. */
export async function findSealedCredential(
  sql: Queryable,
  id: string,
): Promise<{ id: string; version: number; kind: string; sealed: SealedCredential } | undefined> {
  const [row] = await sql<{ id: string; version: number; kind: string; sealed: SealedCredential }[]>`
    select c.id, c.version, c.kind, v.sealed
      from credentials c join credential_versions v on v.credential_id = c.id and v.version = c.version
     where c.id = ${id}`;
  return row;
}

function selectCredentials(sql: Queryable) {
  return sql`
    select c.id, c.name, c.segment_id, s.name as segment_name, c.kind, c.version, v.generation, ${toRotate(sql, 'v', 's')} as to_rotate, c.description,
           (select count(*)::int from targets t where t.credential_id = c.id) as target_count,
           c.expires_on::text as expires_on,
           c.created_at, u.name as created_by_name, v.created_at as saved_at
      from credentials c
      join segments s on s.id = c.segment_id
      join credential_versions v on v.credential_id = c.id and v.version = c.version
      left join users u on u.id = c.created_by`;
}
