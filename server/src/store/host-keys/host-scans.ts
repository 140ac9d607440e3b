// Scans and their targets: creating them, giving targets to agents, recording results, cancelling. host-scan-review.ts
// has the review of the results.
import { type InheritedSettings, limits, type RunSelection, type ScanKind } from '@opsconductor/protocol';
import type { Reach } from '../../auth/authority.ts';
import { type Queryable, type Sql, type Tx, unprepared } from '../database/connection.ts';
import { isRefused, withoutRefused } from '../database/refused-statement.ts';
import { type Condition, targetWithin } from '../people/visibility.ts';
import { mergedSettings } from '../targets/effective-settings.ts';
import { selectedByTerms, type TargetQuery } from '../targets/target-selection.ts';

const maxTries = 3;
const keptDays = 30;

export interface ScanTargetRow {
  id: number;
  name: string;
  segmentId: number;
  mayTest: boolean;
  settings: InheritedSettings;
}

/**
 * Returns the selected targets that may be seen. Targets selected by group or selector must be active; those given by
 * id need not be.
 */
export async function selectToScan(
  tx: Tx,
  query: TargetQuery,
  reaches: { read: readonly Reach[]; test: readonly Reach[] },
  limit: number,
): Promise<ScanTargetRow[]> {
  const byId = query.targetIds as number[];
  return unprepared(tx<ScanTargetRow[]>`
    select t.id, t.name, t.segment_id, ${targetWithin(tx, reaches.test)} as may_test,
      ${mergedSettings(tx)} as settings
    from targets t join segments sg on sg.id = t.segment_id
    where ${targetWithin(tx, reaches.read)} and ${selectedByTerms(tx, query)}
      and (t.is_active or t.id = any(${byId}::bigint[])) and not ${selectedByTerms(tx, query.exclude)}
    order by t.id limit ${limit}`);
}

export async function insertScan(
  tx: Tx,
  scan: { kind: ScanKind; selection: RunSelection; createdBy: number; targetIds: readonly number[] },
): Promise<number> {
  const [row] = await tx<{ id: number }[]>`
    insert into host_scans (kind, selection, created_by)
    values (${scan.kind}, ${tx.json(scan.selection as never)}, ${scan.createdBy}) returning id`;
  if (row === undefined) throw new Error('insert returned nothing');
  await tx`
    insert into host_scan_items (scan_id, target_id, segment_id)
    select ${row.id}, t.id, t.segment_id from targets t where t.id = any(${scan.targetIds as number[]}::bigint[])`;
  await tx`delete from host_scans where completed_at < clock_timestamp() - make_interval(days => ${keptDays})`;
  await tx`select pg_notify('opsc_scan', 'wake')`;
  return row.id;
}

/**
 * Ends what is left of a scan. Returns how many targets this cancelled in each of its segments, or `undefined` if the
 * scan was over.
 */
export async function cancelScan(
  tx: Tx,
  scanId: number,
): Promise<{ segmentId: number; targets: number }[] | undefined> {
  const rows = await tx`
    update host_scans set cancelled_at = clock_timestamp(), completed_at = clock_timestamp()
    where id = ${scanId} and completed_at is null returning 1`;
  if (rows.length === 0) return undefined;
  await tx`
    update host_scan_items set state = 'cancelled', finished_at = clock_timestamp()
    where scan_id = ${scanId} and state in ('waiting', 'given')`;
  await tx`select pg_notify('opsc_scan', ${`cancel.${scanId}`})`;
  return tx<{ segmentId: number; targets: number }[]>`
    select segment_id, count(*) filter (where state = 'cancelled')::int as targets
    from host_scan_items where scan_id = ${scanId} group by segment_id order by segment_id`;
}

/** Returns the segments in which targets wait for an agent. */
export async function segmentsToScan(sql: Queryable): Promise<number[]> {
  const rows = await sql<{ segmentId: number }[]>`
    select s.id as segment_id from segments s
    where exists (select from host_scan_items i where i.segment_id = s.id and i.state = 'waiting')`;
  return rows.map((row) => row.segmentId);
}

export interface GivenItem {
  scanId: number;
  kind: ScanKind;
  targetId: number;
  name: string;
  host: string;
  port: number | null;
  settings: InheritedSettings;
}

/** Names one target of one scan. */
export interface ScanItemKey {
  scanId: number;
  targetId: number;
}

/** Up to `limit` targets, `only` these or all `but` these. */
export interface ItemsToGive {
  limit: number;
  only?: readonly ScanItemKey[] | undefined;
  but?: readonly ScanItemKey[] | undefined;
}

/** Whether an item, `i`, is one of these. */
function isAmong(sql: Queryable, items: readonly ScanItemKey[]): Condition {
  const scans = items.map(({ scanId }) => scanId);
  const targets = items.map(({ targetId }) => targetId);
  return sql`(i.scan_id, i.target_id) in (select * from unnest(${scans}::bigint[], ${targets}::bigint[]))`;
}

function isToGive(sql: Queryable, segmentId: number, { only, but = [] }: ItemsToGive): Condition {
  return sql`i.segment_id = ${segmentId} and i.state = 'waiting'
    and ${only === undefined ? sql`true` : isAmong(sql, only)}
    and ${but.length === 0 ? sql`true` : sql`not ${isAmong(sql, but)}`}`;
}

/** Returns the targets that `giveItems` would give. */
export async function itemsToGive(
  sql: Queryable,
  segmentId: number,
  items: ItemsToGive,
): Promise<ScanItemKey[]> {
  return sql<ScanItemKey[]>`
    select i.scan_id, i.target_id from host_scan_items i where ${isToGive(sql, segmentId, items)}
    order by i.segment_id, i.scan_id, i.target_id limit ${items.limit}`;
}

/** Gives waiting targets of a segment to an agent's session. */
export async function giveItems(
  sql: Sql,
  agent: { agentId: number; segmentId: number; sessionNumber: number },
  items: ItemsToGive,
): Promise<GivenItem[]> {
  return sql<GivenItem[]>`
    with picked as materialized (
      select i.scan_id, i.target_id from host_scan_items i
      where ${isToGive(sql, agent.segmentId, items)}
      order by i.segment_id, i.scan_id, i.target_id limit ${items.limit} for update skip locked
    ), given as (
      update host_scan_items i set state = 'given', agent_id = ${agent.agentId},
        session_number = ${agent.sessionNumber}, given_at = clock_timestamp(), tries = i.tries + 1
      from picked where i.scan_id = picked.scan_id and i.target_id = picked.target_id
      returning i.scan_id, i.target_id
    )
    select given.scan_id, s.kind, t.id as target_id, t.name, t.host, t.port, ${mergedSettings(sql)} as settings
    from given join host_scans s on s.id = given.scan_id
    join targets t on t.id = given.target_id join segments sg on sg.id = t.segment_id
    order by given.scan_id, t.id`;
}

/** Returns the targets that a session was given and that it may still report on. */
export async function itemsOfSession(
  sql: Queryable,
  { agentId, sessionNumber }: { agentId: number; sessionNumber: number },
): Promise<{ scanId: number; targetId: number }[]> {
  return sql<{ scanId: number; targetId: number }[]>`
    select scan_id, target_id from host_scan_items
    where agent_id = ${agentId} and session_number = ${sessionNumber} and state = 'given'`;
}

export interface ScannedItem {
  targetId: number;
  ok: boolean;
  host: string;
  port: number;
  reason: string | null;
  message: string | null;
  advice: string | null;
  serverVersion: string | null;
  latencyMs: number | null;
  certifiedBy: string | null;
  keyId: string | null;
  certificateProblem: string | null;
  keys: { fingerprint: string; keyType: string; publicKey: string }[];
}

/**
 * Writes an agent's results for targets that it was given. Results for other targets, and for cancelled ones, are
 * ignored. Accepted fingerprints are completed with the keys that were shown.
 */
export async function writeScanned(
  tx: Tx,
  agentId: number,
  scanId: number,
  items: readonly ScannedItem[],
): Promise<void> {
  const json = tx.json(items as never);
  await tx`
    with told as materialized (
      select x.* from jsonb_to_recordset(${json}::jsonb) as x("targetId" bigint, ok boolean, host text, port integer,
        reason text, message text, advice text, "serverVersion" text, "latencyMs" double precision,
        "certifiedBy" text, "keyId" text, "certificateProblem" text, keys jsonb)
    ), done as (
      update host_scan_items i set state = case when told.ok then 'done' else 'failed' end,
        finished_at = clock_timestamp(), host = told.host, port = told.port, reason = told.reason,
        message = told.message, advice = told.advice, server_version = told."serverVersion",
        latency_ms = told."latencyMs", certified_by = told."certifiedBy", certificate_key_id = told."keyId",
        certificate_problem = told."certificateProblem"
      from told
      where i.scan_id = ${scanId} and i.target_id = told."targetId" and i.agent_id = ${agentId} and i.state = 'given'
      returning i.target_id, told.ok, told.reason, told."latencyMs" as latency_ms, told.keys
    ), shown as (
      select distinct on (done.target_id, k.value->>'fingerprint') done.target_id, k.value->>'fingerprint' as fingerprint,
        k.value->>'keyType' as key_type, k.value->>'publicKey' as public_key
      from done cross join lateral jsonb_array_elements(done.keys) k(value)
    ), stored as (
      insert into host_scan_keys (scan_id, target_id, fingerprint, key_type, public_key)
      select ${scanId}, target_id, fingerprint, key_type, public_key from shown
    ), completed as (
      update target_host_keys h set public_key = shown.public_key, key_type = shown.key_type, seen_at = clock_timestamp()
      from shown
      where h.target_id = shown.target_id and h.fingerprint = shown.fingerprint and h.state = 'accepted'
        and h.public_key is null
    ), free as materialized (
      select t.id from targets t join done on done.target_id = t.id for no key update of t skip locked
    )
    update targets t set last_probe_at = clock_timestamp(), last_probe_ok = done.ok, last_probe_reason = done.reason,
      last_probe_ms = done.latency_ms
    from done join free on free.id = done.target_id where t.id = done.target_id`;
  await completeScans(tx, scanId);
}

/**
 * Notes that what an agent found at a target can't be recorded, as the database refuses it. Nothing is written but the
 * item itself.
 */
export async function failUnrecorded(
  sql: Sql,
  agentId: number,
  { scanId, targetId }: ScanItemKey,
): Promise<void> {
  await sql`
    update host_scan_items set state = 'failed', finished_at = clock_timestamp(), reason = 'internal',
      message = 'What the agent found can’t be recorded: the database refuses it.',
      advice = 'The server’s log has the error of the database. Correct its cause, then scan this target again.'
    where scan_id = ${scanId} and target_id = ${targetId} and agent_id = ${agentId} and state = 'given'`;
  await completeScans(sql, scanId);
}

/**
 * Makes targets wait again that were given to earlier sessions of the agent, and with `including` also to this one.
 * Returns those of which the database refuses it, each with its error: they stay as they are.
 */
export async function takeBackItems(
  sql: Sql,
  agent: { agentId: number; sessionNumber: number },
  options: { including: boolean },
): Promise<RefusedItem[]> {
  const isTakenBack = sql`i.agent_id = ${agent.agentId} and i.state = 'given'
    and (i.session_number < ${agent.sessionNumber}
      or (${options.including} and i.session_number = ${agent.sessionNumber}))`;
  return writeItems(sql, isTakenBack, async (where) => {
    await sql`
      update host_scan_items i set state = 'waiting', agent_id = null, session_number = null where ${where}`;
  });
}

/**
 * Makes targets wait again that were given out and never reported on, a limited number of times. Gives up those that no
 * agent has looked at in time, and ends scans that have nothing left to do. Returns the targets of which the database
 * refuses it, each with its error.
 */
export async function sweepScans(sql: Sql): Promise<RefusedItem[]> {
  const [open] = await sql<{ id: number }[]>`select id from host_scans where completed_at is null limit 1`;
  if (open === undefined) return [];
  const isOverdue = sql`i.state = 'given'
    and i.given_at < clock_timestamp() - ${limits.scanGivenForMs} * interval '1 millisecond'`;
  const kept = await writeItems(sql, isOverdue, async (where) => {
    await sql`
      update host_scan_items i set state = case when i.tries < ${maxTries} then 'waiting' else 'failed' end,
        finished_at = case when i.tries < ${maxTries} then null else clock_timestamp() end,
        reason = case when i.tries < ${maxTries} then null else 'agent_silent' end,
        message = case when i.tries < ${maxTries} then null else 'No agent reported on this target.' end,
        advice = case when i.tries < ${maxTries} then null else 'Check the segment’s agents, then scan it again.' end,
        agent_id = null, session_number = null
      where ${where}`;
  });
  const isTooLate = sql`i.state = 'waiting' and exists (select from host_scans s
    where s.id = i.scan_id and s.completed_at is null
      and s.created_at < clock_timestamp() - ${limits.scanWithinMs} * interval '1 millisecond')`;
  const waiting = await writeItems(sql, isTooLate, async (where) => {
    await sql`
      update host_scan_items i set state = 'failed', finished_at = clock_timestamp(), reason = 'agents_offline',
        message = 'No agent of the segment that can scan was connected in time.',
        advice = 'Find out why the segment’s agents are not connected, update those that are too old, and scan again.'
      where ${where}`;
  });
  await completeScans(sql);
  return [...kept, ...waiting];
}

export interface RefusedItem {
  item: ScanItemKey;
  error: unknown;
}

/** Updates the items, `i`, that meet the condition: all at once or, if the database refuses that, in ever smaller parts. */
async function writeItems(
  sql: Sql,
  condition: Condition,
  update: (where: Condition) => Promise<void>,
): Promise<RefusedItem[]> {
  try {
    await update(condition);
    return [];
  } catch (error) {
    if (!isRefused(error)) throw error;
  }
  const items = await sql<ScanItemKey[]>`
    select i.scan_id, i.target_id from host_scan_items i where ${condition} order by i.scan_id, i.target_id`;
  return withoutRefused(items, (part) => update(sql`${condition} and ${isAmong(sql, part)}`));
}

async function completeScans(sql: Queryable, scanId?: number): Promise<void> {
  await sql`
    update host_scans s set completed_at = clock_timestamp()
    where s.completed_at is null and ${scanId === undefined ? sql`true` : sql`s.id = ${scanId}`}
      and not exists (select from host_scan_items i where i.scan_id = s.id and i.state in ('waiting', 'given'))`;
}
