import type { SignedRoster } from '@opsconductor/protocol/sealing';
import type { Reach } from '../../auth/authority.ts';
import type { Queryable, Tx } from '../database/connection.ts';
import { containsPattern } from '../database/cursor.ts';
import { type Condition, segmentWithin } from '../people/visibility.ts';
import { hasAgentLike } from './agent-overviews.ts';

export interface SegmentRow {
  id: number;
  name: string;
  description: string;
  unknownAfterS: number;
  rootMode: 'managed' | 'owner_held';
  rootKey: Buffer;
  rootKeySealed: Buffer | null;
  rosterNumber: number;
  rosterPayload: string | null;
  rosterSignature: string | null;
  keyGeneration: number;
  /** Base64, as named in the newest roster. */
  recoveryKey: string | null;
  /** Since when a new generation is wanted. */
  keyRotationWantedAt: Date | null;
  createdAt: Date;
}

/**
 * Counts for one segment: active agents (not disabled, quarantined or revoked), how many of these are connected, and
 * how many of those drain; and those that are disabled or quarantined.
 */
export interface AgentCounts {
  activeAgents: number;
  barredAgents: number;
  connectedAgents: number;
  drainingAgents: number;
}

/** A segment's row with what its agents and its queue are doing now, by the database's clock. */
export interface SegmentOverviewRow extends SegmentRow, AgentCounts {
  targetCount: number;
  waitingSteps: number;
  credentialsToRotate: number;
  /** Which of its agents report having seen a newer roster than the database has; `null` if none does. */
  lostRoster: { agents: { name: string; rosterNumber: number }[] } | null;
}

/** Reserves an id, so that what is sealed for the row can name it before the INSERT. */
export async function nextSegmentId(tx: Tx): Promise<number> {
  const [row] = await tx<{ id: number }[]>`select nextval(pg_get_serial_sequence('segments', 'id')) as id`;
  if (row === undefined) throw new Error('nextval answered nothing');
  return row.id;
}

export async function insertSegment(
  tx: Tx,
  segment: Pick<SegmentRow, 'id' | 'name' | 'description' | 'unknownAfterS' | 'rootKey' | 'rootKeySealed'>,
): Promise<void> {
  await tx`
    insert into segments (id, name, description, unknown_after_s, root_mode, root_key, root_key_sealed)
    overriding system value
    values (${segment.id}, ${segment.name}, ${segment.description}, ${segment.unknownAfterS},
            ${segment.rootKeySealed === null ? 'owner_held' : 'managed'}, ${segment.rootKey}, ${segment.rootKeySealed})`;
}

/** Returns a segment by id, regardless of who asks, or `undefined` if there is none. */
export async function findSegment(sql: Queryable, id: number): Promise<SegmentRow | undefined> {
  const [row] = await sql<SegmentRow[]>`select * from segments where id = ${id}`;
  return row;
}

/** Locks a segment's row. Everyone who changes its roster, its keys or its members holds this lock. */
export async function lockSegment(tx: Tx, id: number): Promise<SegmentRow | undefined> {
  const [row] = await tx<SegmentRow[]>`select * from segments where id = ${id} for update`;
  return row;
}

export async function writeUnknownAfter(tx: Tx, id: number, unknownAfterS: number): Promise<void> {
  await tx`update segments set unknown_after_s = ${unknownAfterS} where id = ${id}`;
}

/** What keeps a segment from being deleted, and how many revoked agents would go with it. */
export interface SegmentContents {
  targets: number;
  /** Not revoked. */
  agents: number;
  revokedAgents: number;
  credentials: number;
  /** That import into it unless a host names another segment. */
  inventories: number;
  /** The newest runs on its targets, present or deleted, that are kept: up to `limits.runs`. */
  runs: number[];
}

/** Counts what belongs to a segment. Lock that first, so that nothing is added meanwhile. */
export async function segmentContents(
  sql: Queryable,
  id: number,
  limits: { runs: number },
): Promise<SegmentContents> {
  // One look at the index for each run, since a run has thousands of targets.
  const [row] = await sql<SegmentContents[]>`
    with recursive run(id) as (
      (select max(job_run_id) from job_run_targets where segment_id = ${id})
      union all
      select (select max(job_run_id) from job_run_targets where segment_id = ${id} and job_run_id < run.id)
      from run where run.id is not null
    )
    select (select count(*)::int from targets where segment_id = ${id}) as targets,
           (select count(*)::int from agents where segment_id = ${id} and state <> 'revoked') as agents,
           (select count(*)::int from agents where segment_id = ${id} and state = 'revoked') as revoked_agents,
           (select count(*)::int from credentials where segment_id = ${id}) as credentials,
           (select count(*)::int from inventories where segment_id = ${id}) as inventories,
           array(select run.id from run where run.id is not null limit ${limits.runs}) as runs`;
  if (row === undefined) throw new Error('a count returned no row');
  return row;
}

/** Deletes a segment and its agents. What else refers to it goes with it. The caller has locked it. */
export async function deleteSegment(tx: Tx, id: number): Promise<void> {
  await tx`delete from agents where segment_id = ${id}`;
  await tx`delete from segments where id = ${id}`;
}

/**
 * Keeps those who would lock the segment from changing it until the transaction ends. Several transactions can hold it
 * at once.
 */
export async function holdSegment(tx: Tx, id: number): Promise<void> {
  await tx`select 1 from segments where id = ${id} for key share`;
}

export interface SegmentFilter {
  id?: number | undefined;
  /** Part of the name. */
  search?: string | undefined;
  /** Whose names and other words `search` is also looked for in. */
  searchIn?: 'agents' | 'all_agents' | undefined;
  /** Only segments whose name comes after this one. */
  beyond?: string | undefined;
  limit?: number | undefined;
}

/** Returns the segments within the reaches that fit, by name, with counts. */
export async function listSegmentOverviews(
  sql: Queryable,
  reaches: readonly Reach[],
  filter: SegmentFilter = {},
): Promise<SegmentOverviewRow[]> {
  return sql<SegmentOverviewRow[]>`
    select s.*,
           coalesce(a.active, 0)::int as active_agents,
           coalesce(a.barred, 0)::int as barred_agents,
           coalesce(a.connected, 0)::int as connected_agents,
           coalesce(a.draining, 0)::int as draining_agents,
           (select count(*)::int from targets t where t.segment_id = s.id) as target_count,
           (select count(*)::int from job_run_steps st
             where st.segment_id = s.id and st.status = 'ready') as waiting_steps,
           (select count(*)::int from credentials c
              join credential_versions v on v.credential_id = c.id and v.version = c.version
             where c.segment_id = s.id and ${toRotate(sql, 'v', 's')}) as credentials_to_rotate,
           l.lost_roster
      from segments s
      left join lateral (
        select count(*) filter (where x.active) as active,
               count(*) filter (where not x.active) as barred,
               count(*) filter (where x.live) as connected,
               count(*) filter (where x.live and x.draining) as draining
          from (${enrolledAgents(sql)}) x where x.segment_id = s.id
      ) a on true
      left join lateral (
        select jsonb_build_object('agents', jsonb_agg(
                 jsonb_build_object('name', ag.name, 'rosterNumber', g.roster_number) order by ag.name)) as lost_roster
          from agents ag join agent_sessions g on g.agent_id = ag.id
         where ag.segment_id = s.id and ag.state = 'active' and g.roster_number > s.roster_number
        having count(*) > 0
      ) l on true
     where ${segmentWithin(sql, reaches)} and ${fits(sql, filter)}
     order by s.name, s.id ${limited(sql, filter)}`;
}

/** SQL condition on the alias `s`. */
function fits(sql: Queryable, { id, search, searchIn, beyond }: SegmentFilter): Condition {
  return sql`${id === undefined ? sql`true` : sql`s.id = ${id}`}
    and ${search === undefined ? sql`true` : found(sql, search, searchIn)}
    and ${beyond === undefined ? sql`true` : sql`s.name > ${beyond}`}`;
}

function found(sql: Queryable, search: string, searchIn: SegmentFilter['searchIn']): Condition {
  const pattern = containsPattern(search);
  const named = sql`s.name ilike ${pattern}`;
  if (searchIn === undefined) return named;
  return sql`(${named} or ${hasAgentLike(sql, pattern, { revoked: searchIn === 'all_agents' })})`;
}

function limited(sql: Queryable, { limit }: SegmentFilter) {
  return limit === undefined ? sql`` : sql`limit ${limit}`;
}

/** Counts the segments within the reaches for each combination of agent counts that occurs. */
export async function countSegmentsByAgents(
  sql: Queryable,
  reaches: readonly Reach[],
): Promise<({ segments: number } & AgentCounts)[]> {
  return sql<({ segments: number } & AgentCounts)[]>`
    select count(*)::int as segments, active_agents, barred_agents, connected_agents, draining_agents
      from (select (count(*) filter (where x.active))::int as active_agents,
                   (count(*) filter (where not x.active))::int as barred_agents,
                   (count(*) filter (where x.live))::int as connected_agents,
                   (count(*) filter (where x.live and x.draining))::int as draining_agents
              from segments s left join (${enrolledAgents(sql)}) x on x.segment_id = s.id
             where ${segmentWithin(sql, reaches)} group by s.id) c
     group by active_agents, barred_agents, connected_agents, draining_agents`;
}

/**
 * SQL: agents that are not revoked; whether they are active (neither disabled nor quarantined), and if so, whether they
 * are connected and drain.
 */
function enrolledAgents(sql: Queryable) {
  return sql`
    select ag.id, ag.segment_id, ag.state = 'active' as active,
           ag.state = 'active'
             and coalesce(g.disconnected_at is null and g.expires_at > clock_timestamp(), false) as live,
           g.draining or ag.drain_requested_at is not null as draining
      from agents ag left join agent_sessions g on g.agent_id = ag.id
     where ag.state <> 'revoked'`;
}

/**
 * Returns segments outside the reaches that have a target within them and fit, by name. Their agents are not for the
 * caller's eyes, so these are not searched.
 */
export async function listNamedSegments(
  sql: Queryable,
  reaches: readonly Reach[],
  filter: Pick<SegmentFilter, 'search' | 'beyond' | 'limit'> = {},
): Promise<{ id: number; name: string }[]> {
  return sql<{ id: number; name: string }[]>`
    select s.id, s.name from segments s
     where not ${segmentWithin(sql, reaches)} and ${segmentWithin(sql, reaches, 's.id', { containing: true })}
       and ${fits(sql, filter)}
     order by s.name, s.id ${limited(sql, filter)}`;
}

interface NewRoster {
  number: number;
  signed: SignedRoster;
  /** The public key that it names, in base64; by default none. */
  recoveryKey?: string | null | undefined;
}

/** Replaces the roster of a segment. One without a recovery key takes the former recovery key away. */
export async function storeRoster(
  tx: Tx,
  segmentId: number,
  { number, signed, recoveryKey = null }: NewRoster,
): Promise<void> {
  await tx`update segments
              set roster_number = ${number}, roster_payload = ${signed.payload},
                  roster_signature = ${signed.signature}, recovery_key = ${recoveryKey}
            where id = ${segmentId}`;
}

export interface StoredRoster extends SignedRoster {
  segmentId: number;
  number: number;
}

/** Stores rosters of managed segments that the caller has locked, and tells every server that they changed. */
export async function storeRosters(tx: Tx, rosters: readonly StoredRoster[]): Promise<void> {
  if (rosters.length === 0) return;
  await tx`
    with changed as (
      update segments s
         set roster_number = r.number, roster_payload = r.payload, roster_signature = r.signature, recovery_key = null
        from jsonb_to_recordset(${tx.json(rosters as never)}::jsonb) as r(
               "segmentId" bigint, number bigint, payload text, signature text)
       where s.id = r."segmentId" and s.id = any(${rosters.map(({ segmentId }) => segmentId)}::bigint[])
      returning s.id
    )
    select pg_notify('opsc_segment', id::text) from changed`;
}

/**
 * SQL condition that only matches the text, because one roster that is not valid JSON must not hide the others. The
 * roster is parsed once its segment is locked.
 */
const isRaised = (sql: Queryable) => sql`
  root_mode = 'managed' and roster_payload is not null
    and coalesce(substring(roster_payload from '"number":(\\d{1,15})')::bigint, 0) < roster_number`;

/** Returns managed segments whose roster number was raised above that of their signed roster, after a restore. */
export async function listRaisedSegments(sql: Queryable): Promise<{ id: number; name: string }[]> {
  return sql<{ id: number; name: string }[]>`
    select id, name from segments where ${isRaised(sql)} order by id`;
}

/**
 * Locks those of these segments that are still raised; a previous holder of the lock may have signed the roster
 * meanwhile.
 */
export async function lockRaisedSegments(tx: Tx, ids: readonly number[]): Promise<SegmentRow[]> {
  return tx<SegmentRow[]>`
    select * from segments where id = any(${ids as number[]}::bigint[]) and ${isRaised(tx)} order by id for update`;
}

export interface SegmentKeyRow {
  generation: number;
  publicKey: Buffer;
}

/** Returns every generation of a segment's key, oldest first. */
export async function listSegmentKeys(sql: Queryable, segmentId: number): Promise<SegmentKeyRow[]> {
  return sql<SegmentKeyRow[]>`
    select generation, public_key from segment_keys where segment_id = ${segmentId} order by generation`;
}

/** Requests a new generation, because a revoked agent has the current one. The caller has locked the segment. */
export async function wantKeyRotation(tx: Tx, segmentId: number): Promise<void> {
  await tx`
    update segments set key_rotation_wanted_at = coalesce(key_rotation_wanted_at, clock_timestamp())
     where id = ${segmentId}`;
}

/**
 * SQL condition: a revoked agent can open what a credential version seals. This is the only reason why generations go
 * up. `version` and `segment` are aliases.
 */
export function toRotate(sql: Queryable, version: string, segment: string): Condition {
  const [v, s] = [sql.unsafe(version), sql.unsafe(segment)];
  return sql`(${v}.generation < ${s}.key_generation or ${s}.key_rotation_wanted_at is not null)`;
}

/** Stores a generation and makes it the current one. The caller has locked the segment. */
export async function insertSegmentKey(tx: Tx, segmentId: number, key: SegmentKeyRow): Promise<void> {
  await tx`insert into segment_keys (segment_id, generation, public_key)
           values (${segmentId}, ${key.generation}, ${key.publicKey})`;
  await tx`
    update segments set key_generation = ${key.generation}, key_rotation_wanted_at = null where id = ${segmentId}`;
}

/** Tells every server that a segment's roster, keys or wraps changed, so that its agents are sent the new state. */
export async function notifySegmentChanged(tx: Tx, segmentId: number): Promise<void> {
  await tx`select pg_notify('opsc_segment', ${String(segmentId)})`;
}
