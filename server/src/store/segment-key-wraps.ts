import type { Queryable, Tx } from './connection.ts';
import { leaseDetailJoins } from './lease-details.ts';

export interface WrapRow {
  generation: number;
  wrapped: string;
}

/** Stores a wrap; a later one replaces it until the agent has opened it. Returns whether it was stored. */
export async function insertWrap(
  tx: Tx,
  wrap: { segmentId: number; generation: number; agentId: number; wrapped: string },
): Promise<boolean> {
  const rows = await tx`
    insert into segment_key_wraps ${tx(wrap, 'segmentId', 'generation', 'agentId', 'wrapped')}
    on conflict (agent_id, generation) do update set wrapped = excluded.wrapped
      where segment_key_wraps.opened_at is null
    returning 1`;
  return rows.length > 0;
}

/** An agent's wraps, oldest generation first. */
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

/** Whether this agent has shown that it holds this generation. */
export async function hasOpenedWrap(sql: Queryable, agentId: number, generation: number): Promise<boolean> {
  const rows = await sql`
    select 1 from segment_key_wraps
     where agent_id = ${agentId} and generation = ${generation} and opened_at is not null`;
  return rows.length > 0;
}

/** Active agents of a segment, and of the generations that `holderId` holds those nobody wrapped for them yet. */
export async function listMissingWraps(
  sql: Queryable,
  segmentId: number,
  holderId: number,
): Promise<{ agentId: number; generation: number }[]> {
  return sql<{ agentId: number; generation: number }[]>`
    select a.id as agent_id, held.generation
      from agents a
      join segment_key_wraps held on held.agent_id = ${holderId} and held.opened_at is not null
     where a.segment_id = ${segmentId} and a.state = 'active' and a.id <> ${holderId}
       and not exists (select 1 from segment_key_wraps w
                        where w.agent_id = a.id and w.generation = held.generation)
     order by held.generation desc, a.id`;
}

/** Notes that an agent holds these generations; returns those that were news. */
export async function markWrapsOpened(
  tx: Tx,
  agentId: number,
  generations: readonly number[],
): Promise<number[]> {
  const rows = await tx<{ generation: number }[]>`
    update segment_key_wraps set opened_at = clock_timestamp()
     where agent_id = ${agentId} and generation = any(${[...generations]}::int[]) and opened_at is null
    returning generation`;
  return rows.map((row) => row.generation);
}

/** Of these steps those whose credential is sealed to a generation that no agent of the segment holds any more. */
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
