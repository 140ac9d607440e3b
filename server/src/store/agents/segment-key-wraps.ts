import type { Queryable, Tx } from '../database/connection.ts';
import { leaseDetailJoins } from '../queue/claims/lease-details.ts';

export interface WrapRow {
  generation: number;
  wrapped: string;
}

/** All peers are asked at once; for this many seconds after the first wrap, others are not needed. */
const freshWrapS = 30;

/** Stores a wrap. A much later wrap replaces it, unless the agent has opened it. Returns whether it was stored. */
export async function insertWrap(
  tx: Tx,
  wrap: { segmentId: number; generation: number; agentId: number; wrapped: string },
): Promise<boolean> {
  const rows = await tx`
    insert into segment_key_wraps ${tx(wrap, 'segmentId', 'generation', 'agentId', 'wrapped')}
    on conflict (agent_id, generation) do update set wrapped = excluded.wrapped, wrapped_at = clock_timestamp()
      where segment_key_wraps.opened_at is null
        and segment_key_wraps.wrapped_at < clock_timestamp() - make_interval(secs => ${freshWrapS})
    returning 1`;
  return rows.length > 0;
}

/** Returns an agent's wraps, oldest generation first. */
export async function listWraps(sql: Queryable, agentId: number): Promise<WrapRow[]> {
  return sql<WrapRow[]>`
    select generation, wrapped from segment_key_wraps where agent_id = ${agentId} order by generation`;
}

/** Whether this generation was ever wrapped for the agent, opened or not. */
export async function hasWrap(sql: Queryable, agentId: number, generation: number): Promise<boolean> {
  const rows = await sql`
    select 1 from segment_key_wraps where agent_id = ${agentId} and generation = ${generation}`;
  return rows.length > 0;
}

/** Returns the agents for which this generation was ever wrapped, opened or not. */
export async function agentsWithWrap(
  sql: Queryable,
  segmentId: number,
  generation: number,
): Promise<number[]> {
  const rows = await sql<{ agentId: number }[]>`
    select agent_id from segment_key_wraps where segment_id = ${segmentId} and generation = ${generation}`;
  return rows.map(({ agentId }) => agentId);
}

/** Whether the agent needs no further wrap of this generation, because it has opened one or was just given one. */
export async function isWrappedFor(
  sql: Queryable,
  { agentId, generation }: { agentId: number; generation: number },
): Promise<boolean> {
  const rows = await sql`
    select 1 from segment_key_wraps where agent_id = ${agentId} and generation = ${generation}
      and (opened_at is not null or wrapped_at >= clock_timestamp() - make_interval(secs => ${freshWrapS}))`;
  return rows.length > 0;
}

/** Whether this agent has shown that it holds this generation. */
export async function hasOpenedWrap(sql: Queryable, agentId: number, generation: number): Promise<boolean> {
  const rows = await sql`
    select 1 from segment_key_wraps
     where agent_id = ${agentId} and generation = ${generation} and opened_at is not null`;
  return rows.length > 0;
}

export interface SegmentStateRow {
  /** State of the agent. */
  state: string;
  rosterPayload: string | null;
  rosterSignature: string | null;
  keyGeneration: number;
  keyRotationWantedAt: Date | null;
  /** Since when the agent should make new keys of its own. */
  newKeysWantedAt: Date | null;
  /** The agent's own wraps, oldest generation first, except those for a key that it has replaced. */
  wraps: WrapRow[];
  /**
   * Other active agents of the segment, with the generations that this agent holds and they lack. Those that were just
   * given a wrap are left out, but not for good: what a hostile peer has wrapped for them may not open.
   */
  wanting: { agentId: number; generation: number }[];
  /** Generations that this agent holds and has not wrapped for the recovery key. */
  wantedForRecovery: number[];
}

/** Returns what an agent has to know about its segment. One statement, because all agents of a site may ask at once. */
export async function findSegmentState(
  sql: Queryable,
  agentId: number,
): Promise<SegmentStateRow | undefined> {
  const [row] = await sql<SegmentStateRow[]>`
    select me.state, me.new_keys_wanted_at, g.roster_payload, g.roster_signature, g.key_generation, g.key_rotation_wanted_at,
      (select coalesce(json_agg(json_build_object('generation', w.generation, 'wrapped', w.wrapped)
          order by w.generation), '[]') from segment_key_wraps w
        where w.agent_id = me.id and w.wrapped_at > '-infinity') as wraps,
      (select coalesce(json_agg(json_build_object('agentId', a.id, 'generation', held.generation)
          order by held.generation desc, a.id), '[]')
        from agents a join segment_key_wraps held on held.agent_id = me.id and held.opened_at is not null
        where a.segment_id = me.segment_id and a.state = 'active' and a.id <> me.id
          and not exists (select from segment_key_wraps w
            where w.agent_id = a.id and w.generation = held.generation and (w.opened_at is not null
              or w.wrapped_at >= clock_timestamp() - make_interval(secs => ${freshWrapS})))) as wanting,
      (select coalesce(json_agg(held.generation order by held.generation desc), '[]')
        from segment_key_wraps held where g.recovery_key is not null and held.agent_id = me.id
          and held.opened_at is not null
          and not exists (select from segment_recovery_wraps r where r.segment_id = g.id
            and r.generation = held.generation and r.recovery_key = g.recovery_key
            and r.wrapped_by = me.id)) as wanted_for_recovery
    from agents me join segments g on g.id = me.segment_id where me.id = ${agentId}`;
  return row;
}

/** Records that an agent holds these generations, and notifies all servers of new ones. Returns the new ones. */
export async function markWrapsOpened(
  db: Queryable,
  agentId: number,
  generations: readonly number[],
): Promise<number[]> {
  const rows = await db<{ generation: number }[]>`
    with opened as (
      update segment_key_wraps set opened_at = clock_timestamp()
       where agent_id = ${agentId} and generation = any(${[...generations]}::int[]) and opened_at is null
      returning generation, segment_id
    ), told as materialized (
      select pg_notify('opsc_segment', segment_id::text) from (select distinct segment_id from opened) one
    )
    select generation from opened where exists (select from told)`;
  return rows.map((row) => row.generation);
}

/**
 * Returns those of these steps whose credential is sealed to a generation that no agent of the segment holds any more.
 */
export async function stepsWithLostKey(
  sql: Queryable,
  stepIds: readonly number[],
): Promise<{ stepId: number; credentialName: string; generation: number }[]> {
  if (stepIds.length === 0) return [];
  return sql<{ stepId: number; credentialName: string; generation: number }[]>`
    select st.id as step_id, c.name as credential_name, cv.generation
      from job_run_steps st ${leaseDetailJoins(sql)}
      join credential_versions cv on cv.credential_id = c.id and cv.version = c.version
     where st.id = any(${stepIds as number[]}::bigint[])
       and not exists (select from segment_key_wraps w join agents a on a.id = w.agent_id
                        where a.segment_id = st.segment_id and a.state in ('active', 'disabled')
                          and w.generation = cv.generation and w.opened_at is not null)`;
}
