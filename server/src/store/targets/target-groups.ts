import type { InheritedSettings, TargetGroup } from '@opsconductor/protocol';
import type { Reach } from '../../auth/authority.ts';
import type { Queryable, Tx } from '../database/connection.ts';
import { containsPattern, decodeCursor } from '../database/cursor.ts';
import { type Condition, reachesEverything, targetGroupWithin, targetWithin } from '../people/visibility.ts';

export interface TargetGroupFields {
  name: string;
  description: string;
  selector: string | null;
  priority: number;
  settings: InheritedSettings;
}

export interface TargetGroupRow extends TargetGroupFields {
  id: number;
  /** Number of members within the given reaches. */
  memberCount: number;
  /** Whether the caller's right covers the group itself, not only some of its targets. */
  isWhole: boolean;
  listedCount: number;
  excludedCount: number;
  credentials: TargetGroup['credentials'];
  createdAt: Date;
  updatedAt: Date;
}

const columns = ['name', 'description', 'selector', 'priority', 'settings'] as const;

export async function insertTargetGroup(
  tx: Tx,
  group: TargetGroupFields & { createdBy: number },
): Promise<number> {
  const [row] = await tx<{ id: number }[]>`
    insert into target_groups ${tx(group as never, 'createdBy', ...columns)} returning id`;
  if (row === undefined) throw new Error('insert returned nothing');
  return row.id;
}

export async function updateTargetGroup(tx: Tx, id: number, group: TargetGroupFields): Promise<void> {
  await tx`
    update target_groups set ${tx(group as never, ...columns)}, updated_at = clock_timestamp() where id = ${id}`;
}

/** Locks a group against grants on it. */
export async function lockTargetGroup(tx: Tx, id: number): Promise<void> {
  await tx`select 1 from target_groups where id = ${id} for update`;
}

export async function deleteTargetGroup(tx: Tx, id: number): Promise<void> {
  await tx`delete from target_groups where id = ${id}`;
}

/**
 * Returns a group that may be seen, by id, or `undefined` if there is none.
 *
 * @param counted the reaches within which members are counted; those of the group if left out.
 */
export async function findTargetGroup(
  sql: Queryable,
  id: number,
  reaches: readonly Reach[],
  counted = reaches,
): Promise<TargetGroupRow | undefined> {
  const [row] = await sql<TargetGroupRow[]>`${selectGroups(sql, sql`g.id = ${id}`, reaches, counted)}`;
  return row;
}

/** Returns groups that may be seen, by name, one more than `limit` if there are more. */
export async function listTargetGroups(
  sql: Queryable,
  query: { search?: string | undefined; limit: number; cursor?: string | undefined },
  reaches: readonly Reach[],
): Promise<TargetGroupRow[]> {
  const { search, limit, cursor } = query;
  const after = cursor === undefined ? undefined : decodeCursor(cursor, ['string', 'number'] as const);
  const pattern = search === undefined || search === '' ? undefined : containsPattern(search);
  const condition = sql`
    ${pattern === undefined ? sql`true` : sql`(g.name ilike ${pattern} or g.description ilike ${pattern})`}
    and ${after === undefined ? sql`true` : sql`(g.name, g.id) > (${after[0]}, ${after[1]})`}`;
  return sql<TargetGroupRow[]>`
    ${selectGroups(sql, condition, reaches)} order by g.name, g.id limit ${limit + 1}`;
}

function selectGroups(sql: Queryable, condition: Condition, reaches: readonly Reach[], counted = reaches) {
  const seen = reachesEverything(counted)
    ? sql`true`
    : sql`exists (select from targets t where t.id = m.target_id and ${targetWithin(sql, counted)})`;
  return sql`
    select g.id, g.name, g.description, g.selector, g.priority, g.settings, g.created_at, g.updated_at,
      ${targetGroupWithin(sql, reaches)} as is_whole,
      (select count(*)::int from target_group_members m where m.target_group_id = g.id and ${seen}) as member_count,
      (select count(*)::int from target_group_entries e
        where e.target_group_id = g.id and not e.excluded) as listed_count,
      (select count(*)::int from target_group_entries e
        where e.target_group_id = g.id and e.excluded) as excluded_count,
      coalesce((select jsonb_agg(jsonb_build_object('segmentId', s.id, 'segmentName', s.name,
          'credentialId', c.id, 'credentialName', c.name) order by s.name)
        from target_group_credentials gc join segments s on s.id = gc.segment_id
        join credentials c on c.id = gc.credential_id where gc.target_group_id = g.id), '[]') as credentials
    from target_groups g
    where ${condition} and ${targetGroupWithin(sql, reaches, 'g.id', { containing: true })}`;
}

/** Writes entries for these targets, listed or excluded, replacing their earlier entries. */
export async function putEntries(
  tx: Tx,
  groupId: number,
  targetIds: readonly number[],
  excluded: boolean,
): Promise<void> {
  await tx`
    insert into target_group_entries (target_group_id, target_id, excluded)
    select ${groupId}, x.id, ${excluded} from unnest(${targetIds as number[]}::bigint[]) as x(id)
    on conflict (target_group_id, target_id) do update set excluded = excluded.excluded`;
}

/** Removes entries: of all targets or of these; of both kinds, or only listed or excluded ones. */
export async function removeEntries(
  tx: Tx,
  groupId: number,
  which: { targetIds?: readonly number[]; excluded?: boolean },
): Promise<void> {
  const { targetIds, excluded } = which;
  await tx`
    delete from target_group_entries
    where target_group_id = ${groupId}
      and ${targetIds === undefined ? tx`true` : tx`target_id = any(${targetIds as number[]}::bigint[])`}
      and ${excluded === undefined ? tx`true` : tx`excluded = ${excluded}`}`;
}

/** Returns the ids of a group's entries in ascending order. */
export async function listEntryIds(
  tx: Tx,
  groupId: number,
): Promise<{ targetIds: number[]; excludedTargetIds: number[] }> {
  const rows = await tx<{ targetId: number; excluded: boolean }[]>`
    select target_id, excluded from target_group_entries where target_group_id = ${groupId} order by target_id`;
  const idsOf = (isExcluded: boolean) =>
    rows.filter(({ excluded }) => excluded === isExcluded).map(({ targetId }) => targetId);
  return { targetIds: idsOf(false), excludedTargetIds: idsOf(true) };
}

export interface GroupEntryRow {
  targetId: number;
  name: string;
  segmentId: number;
  segmentName: string;
  excluded: boolean;
}

/** Returns a group's entries for targets that may be seen, by name, one more than `limit` if there are more. */
export async function listEntries(
  sql: Queryable,
  query: {
    groupId: number;
    excluded?: boolean | undefined;
    limit: number;
    cursor?: string | undefined;
  },
  reaches: readonly Reach[],
): Promise<GroupEntryRow[]> {
  const { groupId, excluded, limit, cursor } = query;
  const after = cursor === undefined ? undefined : decodeCursor(cursor, ['string', 'number'] as const);
  return sql<GroupEntryRow[]>`
    select e.target_id, t.name, t.segment_id, s.name as segment_name, e.excluded
    from target_group_entries e join targets t on t.id = e.target_id join segments s on s.id = t.segment_id
    where e.target_group_id = ${groupId} and ${targetWithin(sql, reaches)}
      and ${excluded === undefined ? sql`true` : sql`e.excluded = ${excluded}`}
      and ${after === undefined ? sql`true` : sql`(t.name, t.id) > (${after[0]}, ${after[1]})`}
    order by t.name, t.id limit ${limit + 1}`;
}

export interface GroupCredential {
  segmentId: number;
  credentialId: string;
}

/** Replaces a group's credentials, each with its segment. */
export async function setGroupCredentials(
  tx: Tx,
  groupId: number,
  credentials: readonly GroupCredential[],
): Promise<void> {
  await tx`delete from target_group_credentials where target_group_id = ${groupId}`;
  await tx`
    insert into target_group_credentials (target_group_id, segment_id, credential_id)
    select ${groupId}, x.segment_id, x.credential_id
    from unnest(${credentials.map((one) => one.segmentId)}::bigint[],
                ${credentials.map((one) => one.credentialId)}::uuid[]) as x(segment_id, credential_id)`;
}

/**
 * Returns those of these credentials that belong to the given segment, as `segment credential`, and locks them against
 * deletion.
 */
export async function lockCredentialsOfSegments(
  tx: Tx,
  credentials: readonly GroupCredential[],
): Promise<Set<string>> {
  if (credentials.length === 0) return new Set();
  const rows = await tx<{ key: string }[]>`
    select c.segment_id || ' ' || c.id as key
    from unnest(${credentials.map((one) => one.segmentId)}::bigint[],
                ${credentials.map((one) => one.credentialId)}::uuid[]) as x(segment_id, credential_id)
    join credentials c on c.id = x.credential_id and c.segment_id = x.segment_id
    order by c.id for key share of c`;
  return new Set(rows.map((row) => row.key));
}
