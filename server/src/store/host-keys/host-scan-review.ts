// What a scan has found, compared with what is accepted now: one statement for any number of targets.
import type { HostScanItem, RunSelection, ScanFinding, ScanKind } from '@opsconductor/protocol';
import type { Reach } from '../../auth/authority.ts';
import type { Queryable, Tx } from '../database/connection.ts';
import { containsPattern, decodeCursor } from '../database/cursor.ts';
import { type Condition, reachesEverything, targetWithin, unrestricted } from '../people/visibility.ts';
import { mergedSettings } from '../targets/effective-settings.ts';

export interface ScanRow {
  id: number;
  kind: ScanKind;
  selection: RunSelection;
  createdAt: Date;
  createdByName: string | null;
  completedAt: Date | null;
  cancelledAt: Date | null;
  total: number;
  done: number;
}

/** Returns scans with a target that may be seen, newest first, one more than `limit` if there are more. */
export async function listScans(
  sql: Queryable,
  query: { limit: number; cursor?: string | undefined; id?: number },
  reaches: readonly Reach[],
): Promise<ScanRow[]> {
  const before = query.cursor === undefined ? undefined : decodeCursor(query.cursor, ['number'] as const)[0];
  const itemsSeen = sql`host_scan_items i ${joinedTargets(sql, reaches, 'i')}
    where i.scan_id = s.id and ${targetWithin(sql, reaches)}`;
  return sql<ScanRow[]>`
    select s.id, s.kind, s.selection, s.created_at, u.name as created_by_name, s.completed_at, s.cancelled_at,
      counted.total, counted.total - case when s.completed_at is null
        then (select count(*)::int from ${itemsSeen} and i.state in ('waiting', 'given')) else 0 end as done
    from host_scans s left join users u on u.id = s.created_by
    cross join lateral (select count(*)::int as total from ${itemsSeen}) counted
    where ${query.id === undefined ? sql`true` : sql`s.id = ${query.id}`}
      and ${before === undefined ? sql`true` : sql`s.id < ${before}`}
      and (counted.total > 0 or ${reachesEverything(reaches)})
    order by s.id desc limit ${query.limit + 1}`;
}

/** Whether the scan exists and has a target that may be seen. */
export async function isScanSeen(
  sql: Queryable,
  scanId: number,
  reaches: readonly Reach[],
): Promise<boolean> {
  const seen = reachesEverything(reaches)
    ? sql`true`
    : sql`exists (select from host_scan_items i join targets t on t.id = i.target_id
        where i.scan_id = s.id and ${targetWithin(sql, reaches)})`;
  return (await sql`select from host_scans s where s.id = ${scanId} and ${seen}`).length > 0;
}

/** Returns targets of a scan that lie outside the reaches. */
export async function scanTargetsOutside(
  sql: Queryable,
  scanId: number,
  reaches: readonly Reach[],
): Promise<{ id: number; name: string }[]> {
  return sql<{ id: number; name: string }[]>`
    select t.id, t.name from host_scan_items i join targets t on t.id = i.target_id
    where i.scan_id = ${scanId} and not ${targetWithin(sql, reaches)} order by t.name, t.id limit 100`;
}

/**
 * SQL table expressions: `shown` has the keys that each target has shown, `item` has each target's finding. A key
 * counts as changed if another key of its type is accepted, otherwise as added. Sets are joined rather than looked up
 * row by row, because a scan can have tens of thousands of keys.
 *
 * @param only restricts the scan to these targets, or to those that may have the finding.
 */
function reviewed(
  sql: Queryable,
  scanId: number,
  reaches: readonly Reach[],
  only: { ids?: readonly number[]; finding?: ScanFinding } = {},
): Condition {
  const { ids, finding } = only;
  const wanted = (column: string) =>
    ids === undefined ? sql`true` : sql`${sql.unsafe(column)} = any(${ids as number[]}::bigint[])`;
  const isIn = (column: string, set: 'accepted' | 'revoked') =>
    sql`${sql.unsafe(column)} in (select x.target_id from ${sql.unsafe(set)} x)`;
  // For targets without an accepted key, only revoked keys matter; only targets with one can be changed, added or the
  // same.
  const needsKey = finding === 'changed' || finding === 'added' || finding === 'same';
  const lookedAt =
    finding === 'new'
      ? isIn('k.target_id', 'revoked')
      : needsKey
        ? isIn('k.target_id', 'accepted')
        : sql`true`;
  const possible =
    finding === 'new'
      ? sql`not ${isIn('i.target_id', 'accepted')}`
      : needsKey
        ? isIn('i.target_id', 'accepted')
        : sql`true`;
  return sql`
    accepted as materialized (
      select a.target_id, a.key_type, a.fingerprint from target_host_keys a
      where a.state = 'accepted' and ${wanted('a.target_id')}
    ), revoked as materialized (
      select k.target_id, k.fingerprint from segment_host_trust r
      join host_scan_keys k on k.scan_id = ${scanId} and k.fingerprint = r.fingerprint
      join host_scan_items i on i.scan_id = k.scan_id and i.target_id = k.target_id and i.segment_id = r.segment_id
      where r.kind = 'revoked' and ${wanted('k.target_id')}
    ), shown as materialized (
      select k.target_id, k.fingerprint, k.key_type, a.target_id is not null as is_accepted,
        (k.target_id, k.key_type) in (select b.target_id, b.key_type from accepted b) as type_is_accepted,
        (k.target_id, k.fingerprint) in (select r.target_id, r.fingerprint from revoked r) as is_revoked
      from host_scan_keys k
      left join accepted a on a.target_id = k.target_id and a.fingerprint = k.fingerprint
      ${joinedTargets(sql, reaches, 'k')}
      where k.scan_id = ${scanId} and ${targetWithin(sql, reaches)} and ${wanted('k.target_id')} and ${lookedAt}
    ), judged as (
      select target_id, bool_or(is_accepted) as any_accepted, bool_or(not is_accepted) as any_other,
        bool_or(not is_accepted and type_is_accepted) as any_conflict, bool_or(is_revoked) as any_revoked
      from shown group by target_id
    ), item as materialized (
      select i.target_id,
        case
          when i.state in ('waiting', 'given') then 'waiting'
          when i.state = 'cancelled' then 'cancelled'
          when i.state = 'failed' then 'unreachable'
          when s.kind = 'reach' then 'reachable'
          when j.any_revoked then 'revoked'
          when has.any_key and (j.any_conflict or (j.any_accepted is not true and not has.certified)) then 'changed'
          when has.certified then 'certified'
          when not has.any_key then 'new'
          when j.any_other then 'added'
          else 'same'
        end as finding
      from host_scan_items i join host_scans s on s.id = i.scan_id
      left join judged j on j.target_id = i.target_id
      ${joinedTargets(sql, reaches, 'i')}
      cross join lateral (select
        i.target_id in (select a.target_id from accepted a) as any_key,
        i.certified_by is not null and exists (select from segment_host_trust c
          where c.segment_id = i.segment_id and c.kind = 'authority' and c.fingerprint = i.certified_by) as certified
      ) has
      where i.scan_id = ${scanId} and ${targetWithin(sql, reaches)} and ${wanted('i.target_id')} and ${possible}
    )`;
}

/** Joins `targets t` only if the reaches are limited: joining all targets of a scan is a large part of the cost. */
function joinedTargets(sql: Queryable, reaches: readonly Reach[], alias: 'i' | 'k' | 'item'): Condition {
  return reachesEverything(reaches) ? sql`` : sql`join targets t on t.id = ${sql.unsafe(alias)}.target_id`;
}

/** SQL table expression: keys that several targets of a scan have shown. */
function twins(sql: Queryable, scanId: number, reaches: readonly Reach[]): Condition {
  return sql`
    twin as materialized (
      select k.fingerprint from host_scan_keys k ${joinedTargets(sql, reaches, 'k')}
      where k.scan_id = ${scanId} and ${targetWithin(sql, reaches)} group by k.fingerprint having count(*) > 1
    )`;
}

export interface ScanSummaryRow {
  counts: Partial<Record<ScanFinding, number>>;
  shared: number;
  review: { finding: 'new' | 'added'; targets: number; keys: number; digest: string; mayApprove: boolean }[];
}

/** Summarizes a scan. `approvable` is where the reader may accept keys. */
export async function summarizeScan(
  sql: Queryable,
  scanId: number,
  reaches: readonly Reach[],
  approvable: readonly Reach[] = unrestricted,
): Promise<ScanSummaryRow> {
  const [row] = await sql<ScanSummaryRow[]>`
    with ${reviewed(sql, scanId, reaches)}, ${twins(sql, scanId, reaches)}
    select
      (select coalesce(jsonb_object_agg(finding, n), '{}') from (
        select finding, count(*) as n from item group by finding) x) as counts,
      (select count(distinct shown.target_id)::int from shown join twin using (fingerprint)) as shared,
      (select coalesce(jsonb_agg(x), '[]') from (
        select item.finding, count(distinct shown.target_id) as targets, count(*) as keys,
          encode(sha256(convert_to(string_agg(shown.target_id || ' ' || shown.fingerprint, e'\n'
            order by shown.target_id, shown.fingerprint collate "C"), 'UTF8')), 'hex') as digest,
          bool_and(${targetWithin(sql, approvable)}) as "mayApprove"
        from item join shown on shown.target_id = item.target_id ${joinedTargets(sql, approvable, 'item')}
        where item.finding in ('new', 'added') and not shown.is_accepted
        group by item.finding) x) as review`;
  if (row === undefined) throw new Error('aggregates answered nothing');
  return row;
}

export interface ReviewItemRow extends Omit<HostScanItem, 'finishedAt' | 'certified'> {
  finishedAt: Date | null;
  certifiedBy: string | null;
  certificateKeyId: string | null;
}

/** Findings that follow from the state of an item alone. */
const findingStates: Partial<Record<ScanFinding, string[]>> = {
  waiting: ['waiting', 'given'],
  cancelled: ['cancelled'],
  unreachable: ['failed'],
};

/**
 * Returns targets of a scan by name, one more than `limit` if there are more. Only those of the page are read
 * completely.
 */
export async function listScanItems(
  sql: Queryable,
  scanId: number,
  query: {
    limit: number;
    cursor?: string | undefined;
    finding?: ScanFinding | undefined;
    shared?: boolean | undefined;
    search?: string | undefined;
  },
  reaches: readonly Reach[],
): Promise<ReviewItemRow[]> {
  const { limit, cursor, finding, shared, search } = query;
  const after = cursor === undefined ? undefined : decodeCursor(cursor, ['string', 'number'] as const);
  const pattern = search === undefined || search === '' ? undefined : containsPattern(search);
  const isShared = sql`i.target_id in (select k.target_id from host_scan_keys k where k.scan_id = ${scanId}
    and k.fingerprint in (select fingerprint from twin))`;
  const states = finding === undefined ? undefined : findingStates[finding];
  const isFound =
    finding === undefined
      ? sql`true`
      : states === undefined
        ? sql`i.target_id in (select target_id from item where finding = ${finding})`
        : sql`i.state = any(${states}::text[])`;
  const page = await sql<{ id: number }[]>`
    with ${shared === true ? twins(sql, scanId, reaches) : sql`twin as (select)`},
      ${finding === undefined || states !== undefined ? sql`item as (select)` : reviewed(sql, scanId, reaches, { finding })}
    select t.id from host_scan_items i join targets t on t.id = i.target_id
    where i.scan_id = ${scanId} and ${targetWithin(sql, reaches)}
      and ${isFound}
      and ${shared === true ? isShared : sql`true`}
      and ${pattern === undefined ? sql`true` : sql`(t.name ilike ${pattern} or t.host ilike ${pattern})`}
      and ${after === undefined ? sql`true` : sql`(t.name, t.id) > (${after[0]}, ${after[1]})`}
    order by t.name, t.id limit ${limit + 1}`;
  return page.length === 0
    ? []
    : readScanItems(
        sql,
        scanId,
        page.map((row) => row.id),
        reaches,
      );
}

function readScanItems(
  sql: Queryable,
  scanId: number,
  ids: readonly number[],
  reaches: readonly Reach[],
): Promise<ReviewItemRow[]> {
  return sql<ReviewItemRow[]>`
    with ${reviewed(sql, scanId, reaches, { ids })}, others as materialized (
      select o.fingerprint, count(*)::int as n,
        (array_agg(o.target_id order by t.name, t.id))[1:4] as ids, (array_agg(t.name order by t.name, t.id))[1:4] as names
      from host_scan_keys o join targets t on t.id = o.target_id
      where o.scan_id = ${scanId} and ${targetWithin(sql, reaches)}
        and o.fingerprint = any(array(select fingerprint from shown))
      group by o.fingerprint
    )
    select p.target_id, t.name, p.segment_id, g.name as segment_name, p.host, p.port, item.finding, p.reason, p.message,
      p.advice, p.latency_ms, p.server_version, p.finished_at, ag.name as agent_name, p.certified_by,
      p.certificate_key_id, p.certificate_problem,
      (select coalesce(jsonb_agg(jsonb_build_object('keyType', k.key_type, 'fingerprint', k.fingerprint,
          'accepted', k.is_accepted, 'revoked', k.is_revoked, 'sharedBy', others.n - 1,
          'sharedWith', (select coalesce(jsonb_agg(x.name order by x.at), '[]') from (
            select u.name, u.at from unnest(others.ids, others.names) with ordinality as u(id, name, at)
            where u.id <> p.target_id order by u.at limit 3) x))
          order by k.key_type, k.fingerprint), '[]')
        from shown k join others using (fingerprint) where k.target_id = p.target_id) as keys,
      (select coalesce(jsonb_agg(jsonb_build_object('keyType', a.key_type, 'fingerprint', a.fingerprint,
          'source', a.source) order by a.key_type, a.fingerprint), '[]')
        from target_host_keys a where a.target_id = p.target_id and a.state = 'accepted') as accepted
    from item join host_scan_items p on p.scan_id = ${scanId} and p.target_id = item.target_id
    join targets t on t.id = p.target_id join segments g on g.id = p.segment_id
    left join agents ag on ag.id = p.agent_id
    order by t.name, p.target_id`;
}

export interface ApprovableKey {
  targetId: number;
  targetName: string;
  segmentId: number;
  finding: ScanFinding;
  fingerprint: string;
  keyType: string;
  publicKey: string;
  isAccepted: boolean;
  /** The target is now at another address than when it was scanned. */
  hasMoved: boolean;
  /** Another key that it has since shown to a step, a test or a later scan. */
  shownSince: string | null;
  /** Fingerprints that are accepted for it. */
  accepted: string[];
}

/** SQL condition: the target of `item` has shown this key to the scan. */
function showed(sql: Queryable, scanId: number, fingerprint: Condition): Condition {
  return sql`exists (select from host_scan_keys own where own.scan_id = ${scanId} and own.target_id = item.target_id
    and own.fingerprint = ${fingerprint})`;
}

/**
 * Returns the keys that targets of a scan have shown, for a finding or for these targets. Locks the targets, by id;
 * runs can still be started on them.
 */
export async function lockApprovable(
  tx: Tx,
  scanId: number,
  wanted: { finding?: ScanFinding | undefined; targetIds: readonly number[] },
  reaches: readonly Reach[],
): Promise<ApprovableKey[]> {
  const ids = wanted.targetIds as number[];
  const chosen = tx`(item.finding = ${wanted.finding ?? ''} or item.target_id = any(${ids}::bigint[]))`;
  await tx`
    with ${reviewed(tx, scanId, reaches)}
    select t.id from targets t where t.id in (select target_id from item where ${chosen})
    order by t.id for no key update`;
  // Read again, now that nobody else can change it.
  return tx<ApprovableKey[]>`
    with ${reviewed(tx, scanId, reaches)}
    select item.target_id, t.name as target_name, i.segment_id, item.finding, k.fingerprint, k.key_type,
      h.public_key, k.is_accepted,
      (i.host, i.port) is distinct from (t.host, coalesce(t.port, (${mergedSettings(tx)} ->> 'port')::int, 22))
        as has_moved,
      coalesce(
        (select min(o.fingerprint) from target_host_keys o where o.target_id = item.target_id and o.state <> 'accepted'
          and o.seen_at > i.finished_at and not ${showed(tx, scanId, tx`o.fingerprint`)}),
        (select min(l.fingerprint) from host_scan_items li join host_scan_keys l
            on l.scan_id = li.scan_id and l.target_id = li.target_id
          where li.target_id = item.target_id and li.finished_at > i.finished_at
            and not ${showed(tx, scanId, tx`l.fingerprint`)})) as shown_since,
      array(select a.fingerprint from target_host_keys a where a.target_id = item.target_id and a.state = 'accepted'
        order by a.fingerprint) as accepted
    from item join shown k on k.target_id = item.target_id
    join host_scan_items i on i.scan_id = ${scanId} and i.target_id = item.target_id
    join host_scan_keys h on h.scan_id = i.scan_id and h.target_id = k.target_id and h.fingerprint = k.fingerprint
    join targets t on t.id = item.target_id join segments sg on sg.id = t.segment_id
    where ${chosen}
    order by item.target_id, k.fingerprint collate "C"`;
}

/**
 * Returns why targets of a scan wait: for each segment, how many, whether an agent that can scan is connected, and
 * which connected agents are too old to scan.
 */
export async function waitingBySegment(
  sql: Queryable,
  scanId: number,
  reaches: readonly Reach[],
): Promise<
  {
    segmentName: string;
    count: number;
    isScanned: boolean;
    tooOld: { name: string; version: string }[];
  }[]
> {
  return sql`
    select g.name as segment_name, w.n as count,
      exists (select from agents a join agent_sessions s on s.agent_id = a.id where a.segment_id = g.id and s.ready
        and s.disconnected_at is null and s.expires_at > clock_timestamp() and s.can_scan and not s.draining) as is_scanned,
      (select coalesce(jsonb_agg(jsonb_build_object('name', a.name, 'version', a.version) order by a.name), '[]')
        from agents a join agent_sessions s on s.agent_id = a.id where a.segment_id = g.id and s.ready
        and s.disconnected_at is null and s.expires_at > clock_timestamp() and not s.can_scan) as too_old
    from (select i.segment_id, count(*)::int as n from host_scan_items i join targets t on t.id = i.target_id
      where i.scan_id = ${scanId} and i.state = 'waiting' and ${targetWithin(sql, reaches)} group by i.segment_id) w
    join segments g on g.id = w.segment_id order by g.name`;
}

export interface ChangedTarget {
  targetId: number;
  name: string;
  segmentId: number;
  fingerprint: string;
  keyType: string;
  publicKey: string;
  accepted: string[];
  /** The target has shown this key before. */
  isKnown: boolean;
}

/** Returns those of these targets of a scan that have changed, each with one unaccepted key: a known one, if any. */
export async function changedAmong(
  tx: Tx,
  scanId: number,
  targetIds: readonly number[],
): Promise<ChangedTarget[]> {
  return tx<ChangedTarget[]>`
    with ${reviewed(tx, scanId, unrestricted, { ids: targetIds })}
    select distinct on (item.target_id) item.target_id, t.name, i.segment_id, k.fingerprint, k.key_type,
      h.public_key, known.target_id is not null as is_known,
      array(select a.fingerprint from target_host_keys a where a.target_id = item.target_id and a.state = 'accepted'
        order by a.fingerprint) as accepted
    from item join shown k on k.target_id = item.target_id and not k.is_accepted
    join host_scan_items i on i.scan_id = ${scanId} and i.target_id = item.target_id
    join host_scan_keys h on h.scan_id = i.scan_id and h.target_id = k.target_id and h.fingerprint = k.fingerprint
    join targets t on t.id = item.target_id
    left join target_host_keys known on known.target_id = k.target_id and known.fingerprint = k.fingerprint
      and known.state = 'changed'
    where item.finding = 'changed'
    order by item.target_id, known.target_id is null, k.type_is_accepted desc, k.key_type = 'ssh-ed25519' desc,
      k.key_type, k.fingerprint`;
}

/** Returns those of these targets that have shown an accepted key in the scan. */
export async function unchangedAmong(
  tx: Tx,
  scanId: number,
  targetIds: readonly number[],
): Promise<number[]> {
  const rows = await tx<{ targetId: number }[]>`
    with ${reviewed(tx, scanId, unrestricted, { ids: targetIds })}
    select item.target_id from item where item.finding in ('same', 'added')`;
  return rows.map((row) => row.targetId);
}

/** Locks, by id, and returns those of these targets for which a key is accepted. */
export async function lockTargetsWithKeys(tx: Tx, targetIds: readonly number[]): Promise<number[]> {
  const rows = await tx<{ id: number }[]>`
    select t.id from targets t where t.id = any(${targetIds as number[]}::bigint[]) and exists (
      select from target_host_keys a where a.target_id = t.id and a.state = 'accepted')
    order by t.id for no key update`;
  return rows.map((row) => row.id);
}
