// What a scan has found, compared with what is accepted now. One statement however many targets it has.
import type { HostScanItem, RunSelection, ScanFinding, ScanKind } from '@opsconductor/protocol';
import type { Reach } from '../auth/authority.ts';
import type { Queryable, Tx } from './connection.ts';
import { containsPattern, decodeCursor } from './cursor.ts';
import { mergedSettings } from './effective-settings.ts';
import { type Condition, reachesEverything, targetWithin, unrestricted } from './visibility.ts';

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

/** Scans with a target that may be seen, the newest first; one more than `limit` where there are more. */
export async function listScans(
  sql: Queryable,
  query: { limit: number; cursor?: string | undefined; id?: number },
  reaches: readonly Reach[],
): Promise<ScanRow[]> {
  const before = query.cursor === undefined ? undefined : decodeCursor(query.cursor, ['number'] as const)[0];
  const seen = reachesEverything(reaches) ? sql`true` : targetWithin(sql, reaches);
  return sql<ScanRow[]>`
    select s.id, s.kind, s.selection, s.created_at, u.name as created_by_name, s.completed_at, s.cancelled_at,
      counted.total, counted.done
    from host_scans s left join users u on u.id = s.created_by
    cross join lateral (
      select count(*)::int as total, count(*) filter (where i.state not in ('waiting', 'given'))::int as done
      from host_scan_items i join targets t on t.id = i.target_id where i.scan_id = s.id and ${seen}) counted
    where ${query.id === undefined ? sql`true` : sql`s.id = ${query.id}`}
      and ${before === undefined ? sql`true` : sql`s.id < ${before}`}
      and (counted.total > 0 or ${reachesEverything(reaches)})
    order by s.id desc limit ${query.limit + 1}`;
}

/** Targets of a scan that lie outside the reaches. */
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
 * Table expressions: `shown` has the keys that each target has shown, `item` each target with its finding. A key of a
 * type of which another is accepted is a change; one of another type is an addition. `only` is a condition on the items,
 * `i`, that are looked at.
 */
function reviewed(sql: Queryable, scanId: number, reaches: readonly Reach[], only?: Condition): Condition {
  const wanted = only ?? sql`true`;
  return sql`
    shown as materialized (
      select k.target_id, k.fingerprint, k.key_type, k.public_key, i.segment_id,
        exists (select from target_host_keys a where a.target_id = k.target_id and a.fingerprint = k.fingerprint
          and a.state = 'accepted') as is_accepted,
        exists (select from target_host_keys a where a.target_id = k.target_id and a.key_type = k.key_type
          and a.state = 'accepted') as type_is_accepted,
        exists (select from segment_host_trust r where r.segment_id = i.segment_id and r.kind = 'revoked'
          and r.fingerprint = k.fingerprint) as is_revoked
      from host_scan_keys k join host_scan_items i on i.scan_id = k.scan_id and i.target_id = k.target_id
      join targets t on t.id = k.target_id
      where k.scan_id = ${scanId} and ${targetWithin(sql, reaches)} and ${wanted}
    ), judged as materialized (
      select target_id, bool_or(is_accepted) as any_accepted, bool_or(not is_accepted) as any_other,
        bool_or(not is_accepted and type_is_accepted) as any_conflict, bool_or(is_revoked) as any_revoked
      from shown group by target_id
    ), item as materialized (
      select i.*, t.name, s.kind,
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
      from host_scan_items i join host_scans s on s.id = i.scan_id join targets t on t.id = i.target_id
      left join judged j on j.target_id = i.target_id
      cross join lateral (select
        exists (select from target_host_keys a where a.target_id = i.target_id and a.state = 'accepted') as any_key,
        i.certified_by is not null and exists (select from segment_host_trust c
          where c.segment_id = i.segment_id and c.kind = 'authority' and c.fingerprint = i.certified_by) as certified
      ) has
      where i.scan_id = ${scanId} and ${targetWithin(sql, reaches)} and ${wanted}
    )`;
}

/** Table expression: keys that several targets of a scan have shown. */
function twins(sql: Queryable, scanId: number, reaches: readonly Reach[]): Condition {
  return sql`
    twin as materialized (
      select k.fingerprint from host_scan_keys k join targets t on t.id = k.target_id
      where k.scan_id = ${scanId} and ${targetWithin(sql, reaches)} group by k.fingerprint having count(*) > 1
    )`;
}

export interface ScanSummaryRow {
  counts: Partial<Record<ScanFinding, number>>;
  shared: number;
  review: { finding: 'new' | 'added'; targets: number; keys: number; digest: string }[];
}

export async function summarizeScan(
  sql: Queryable,
  scanId: number,
  reaches: readonly Reach[],
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
            order by shown.target_id, shown.fingerprint collate "C"), 'UTF8')), 'hex') as digest
        from item join shown on shown.target_id = item.target_id
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

/** Items, `i`, that have a finding: the same as `reviewed` says, as sets that can be joined. */
function hasFinding(sql: Queryable, scanId: number, finding: ScanFinding): Condition {
  const isDone = sql`i.state = 'done'`;
  const isKeys = sql`exists (select from host_scans s where s.id = ${scanId} and s.kind = 'keys')`;
  const withKeys = sql`i.target_id in (select target_id from target_host_keys where state = 'accepted')`;
  const ofShown = (condition: Condition) => sql`i.target_id in (select k.target_id from host_scan_keys k
    where k.scan_id = ${scanId} and ${condition})`;
  const accepted = sql`exists (select from target_host_keys a where a.target_id = k.target_id
    and a.fingerprint = k.fingerprint and a.state = 'accepted')`;
  const typeAccepted = sql`exists (select from target_host_keys b where b.target_id = k.target_id
    and b.key_type = k.key_type and b.state = 'accepted')`;
  const isRevoked = ofShown(sql`(select segment_id from host_scan_items r where r.scan_id = k.scan_id
    and r.target_id = k.target_id) in (select segment_id from segment_host_trust t where t.kind = 'revoked'
    and t.fingerprint = k.fingerprint)`);
  const isCertified = sql`(i.certified_by is not null and exists (select from segment_host_trust c
    where c.segment_id = i.segment_id and c.kind = 'authority' and c.fingerprint = i.certified_by))`;
  const isChanged = sql`(${withKeys} and (${ofShown(sql`not ${accepted} and ${typeAccepted}`)}
    or (not ${ofShown(accepted)} and not ${isCertified})))`;
  const judged = sql`${isDone} and ${isKeys} and not ${isRevoked}`;
  switch (finding) {
    case 'waiting':
      return sql`i.state in ('waiting', 'given')`;
    case 'cancelled':
      return sql`i.state = 'cancelled'`;
    case 'unreachable':
      return sql`i.state = 'failed'`;
    case 'reachable':
      return sql`${isDone} and not ${isKeys}`;
    case 'revoked':
      return sql`${isDone} and ${isKeys} and ${isRevoked}`;
    case 'changed':
      return sql`${judged} and ${isChanged}`;
    case 'certified':
      return sql`${judged} and ${isCertified} and not ${isChanged}`;
    case 'new':
      return sql`${judged} and not ${withKeys} and not ${isCertified}`;
    case 'added':
      return sql`${judged} and not ${isCertified} and ${withKeys} and not ${isChanged}
        and ${ofShown(sql`not ${accepted}`)}`;
    case 'same':
      return sql`${judged} and not ${isCertified} and ${withKeys} and not ${isChanged}
        and not ${ofShown(sql`not ${accepted}`)}`;
  }
}

/** Targets of a scan by name, one more than `limit` where there are more; only those of the page are read whole. */
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
  const page = await sql<{ id: number }[]>`
    with ${shared === true ? twins(sql, scanId, reaches) : sql`twin as (select)`}
    select t.id from host_scan_items i join targets t on t.id = i.target_id
    where i.scan_id = ${scanId} and ${targetWithin(sql, reaches)}
      and ${finding === undefined ? sql`true` : hasFinding(sql, scanId, finding)}
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
  ids: number[],
  reaches: readonly Reach[],
): Promise<ReviewItemRow[]> {
  return sql<ReviewItemRow[]>`
    with ${reviewed(sql, scanId, reaches, sql`i.target_id = any(${ids}::bigint[])`)}, others as materialized (
      select o.fingerprint, count(*)::int as n,
        (array_agg(o.target_id order by t.name, t.id))[1:4] as ids, (array_agg(t.name order by t.name, t.id))[1:4] as names
      from host_scan_keys o join targets t on t.id = o.target_id
      where o.scan_id = ${scanId} and ${targetWithin(sql, reaches)}
        and o.fingerprint = any(array(select fingerprint from shown))
      group by o.fingerprint
    )
    select p.target_id, p.name, p.segment_id, g.name as segment_name, p.host, p.port, p.finding, p.reason, p.message,
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
    from item p join segments g on g.id = p.segment_id left join agents ag on ag.id = p.agent_id
    order by p.name, p.target_id`;
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
  /** The target is now somewhere else than where it was scanned. */
  hasMoved: boolean;
  /** Another key that it has shown since to a step, a test or a later scan. */
  shownSince: string | null;
  /** What is accepted for it. */
  accepted: string[];
}

/** Whether the target of `item` has shown this key to the scan. */
function showed(sql: Queryable, scanId: number, fingerprint: Condition): Condition {
  return sql`exists (select from host_scan_keys own where own.scan_id = ${scanId} and own.target_id = item.target_id
    and own.fingerprint = ${fingerprint})`;
}

/** The keys that targets of a scan have shown: of a finding, or of these targets. Locks the targets, by id. */
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
    select t.id from targets t where t.id in (select target_id from item where ${chosen}) order by t.id for update`;
  // Again, as it is now that nobody else changes it.
  return tx<ApprovableKey[]>`
    with ${reviewed(tx, scanId, reaches)}
    select item.target_id, item.name as target_name, item.segment_id, item.finding, k.fingerprint, k.key_type,
      k.public_key, k.is_accepted,
      (item.host, item.port) is distinct from (t.host, coalesce(t.port, (${mergedSettings(tx)} ->> 'port')::int, 22))
        as has_moved,
      coalesce(
        (select min(o.fingerprint) from target_host_keys o where o.target_id = item.target_id and o.state <> 'accepted'
          and o.seen_at > item.finished_at and not ${showed(tx, scanId, tx`o.fingerprint`)}),
        (select min(l.fingerprint) from host_scan_items li join host_scan_keys l
            on l.scan_id = li.scan_id and l.target_id = li.target_id
          where li.target_id = item.target_id and li.finished_at > item.finished_at
            and not ${showed(tx, scanId, tx`l.fingerprint`)})) as shown_since,
      array(select a.fingerprint from target_host_keys a where a.target_id = item.target_id and a.state = 'accepted'
        order by a.fingerprint) as accepted
    from item join shown k on k.target_id = item.target_id
    join targets t on t.id = item.target_id join segments sg on sg.id = t.segment_id
    where ${chosen}
    order by item.target_id, k.fingerprint collate "C"`;
}

/** Why targets of a scan wait: by segment, how many, and who of its agents is there. */
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

/** Of these targets of a scan those that have changed, each with one key that is not accepted: that which is known, if any. */
export async function changedAmong(
  tx: Tx,
  scanId: number,
  targetIds: readonly number[],
): Promise<ChangedTarget[]> {
  const ids = targetIds as number[];
  return tx<ChangedTarget[]>`
    with ${reviewed(tx, scanId, unrestricted, tx`i.target_id = any(${ids}::bigint[])`)}
    select distinct on (item.target_id) item.target_id, item.name, item.segment_id, k.fingerprint, k.key_type,
      k.public_key, known.target_id is not null as is_known,
      array(select a.fingerprint from target_host_keys a where a.target_id = item.target_id and a.state = 'accepted'
        order by a.fingerprint) as accepted
    from item join shown k on k.target_id = item.target_id and not k.is_accepted
    left join target_host_keys known on known.target_id = k.target_id and known.fingerprint = k.fingerprint
      and known.state = 'changed'
    where item.finding = 'changed'
    order by item.target_id, known.target_id is null, k.type_is_accepted desc, k.key_type = 'ssh-ed25519' desc,
      k.key_type, k.fingerprint`;
}

/** Locks, by id, those of these targets for which a key is accepted. */
export async function lockTargetsWithKeys(tx: Tx, targetIds: readonly number[]): Promise<number[]> {
  const rows = await tx<{ id: number }[]>`
    select t.id from targets t where t.id = any(${targetIds as number[]}::bigint[]) and exists (
      select from target_host_keys a where a.target_id = t.id and a.state = 'accepted')
    order by t.id for update`;
  return rows.map((row) => row.id);
}
