// Which agents can be given steps, and their free slots. Parts of the statement in `claims.ts`, except the condition
// `isAble`, which tells the same to whatever explains or counts what waits.
import { limits } from '@opsconductor/protocol';
import type { Queryable } from '../../database/connection.ts';
import type { ClaimAmong } from './claims.ts';

/**
 * SQL condition: an agent can be given steps, even if it has no free slot. Aliases: session `s`, agent `a`, segment
 * `g`.
 */
export function isAble(db: Queryable) {
  return db`(a.session_number = s.session_number and a.state = 'active' and a.drain_requested_at is null
    and s.ready and not s.draining and s.disconnected_at is null and s.expires_at > clock_timestamp()
    and exists (
      select from segment_key_wraps w
      where w.agent_id = a.id and w.generation = g.key_generation and w.opened_at is not null))`;
}

interface SlotsOptions {
  serverId: string;
  kind: number;
  held: ClaimAmong['held'] | undefined;
}

/**
 * Common table expressions from `waiting` segments to the free `slots` of their agents, and how many steps each segment
 * can take in total (`demand`).
 */
export function freeSlots(db: Queryable, { serverId, kind, held }: SlotsOptions) {
  return db`able as (
      select s.agent_id, s.session_number, a.segment_id, s.capabilities, s.slots,
        ${held === undefined ? liveLeases(db) : db`held.steps`} as taken,
        dense_rank() over (partition by a.segment_id order by cardinality(s.capabilities), s.capabilities) as kind
      from waiting g
      join agents a on a.segment_id = g.id
      join agent_sessions s on s.agent_id = a.id
      ${held === undefined ? db`` : heldSteps(db, held)}
      where s.server_id = ${serverId} and s.busy_reason is null and ${isAble(db)}
    ), credit as materialized (
      select able.*, least(${limits.maxClaimBatch}, slots - taken)::int as free, max(kind) over () as kinds from able
    ), slots as (
      select segment_id, agent_id, session_number,
        row_number() over (partition by segment_id order by taken + n, agent_id) as place
      from credit cross join lateral generate_series(1, free) as n
      where kind = ${kind + 1}
    ), demand as materialized (
      select segment_id, capabilities, kinds, least(sum(greatest(free, 0)), ${limits.maxClaimBatch})::int as total
      from credit where kind = ${kind + 1} group by segment_id, capabilities, kinds
    )`;
}

/**
 * Pairs `picked` steps with slots (`paired`), and locks those agents that may still be given steps (`fenced`). Agents
 * that somebody else has locked are left out: whoever holds an agent may wait for a step, and the claim holds steps.
 */
export function pairedWithSlots(db: Queryable) {
  return db`paired as materialized (
      select p.*, slots.agent_id, slots.session_number
      from (select *, row_number() over (partition by segment_id order by id) as place from picked) p
      join slots using (segment_id, place)
    ), fenced as materialized (
      select a.id, a.session_number from agents a
      join (select distinct agent_id, session_number from paired) p
        on p.agent_id = a.id and p.session_number = a.session_number
      where a.state = 'active' and a.drain_requested_at is null
      for share of a skip locked
    )`;
}

/** A target run takes one slot, even if steps of it were leased ahead of their turn. */
function liveLeases(db: Queryable) {
  return db`(
          select count(distinct l.target_run_id) from job_run_steps l
          where l.agent_id = s.agent_id and l.status = 'running')`;
}

function heldSteps(db: Queryable, held: NonNullable<ClaimAmong['held']>) {
  const agentIds = held.map(({ agentId }) => agentId);
  const steps = held.map((each) => each.steps);
  return db`join unnest(${agentIds}::bigint[], ${steps}::int[]) as held(agent_id, steps) on held.agent_id = a.id`;
}
