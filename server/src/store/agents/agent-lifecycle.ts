// What people decide about agents. The caller has locked the agent's row (`lockAgent`), so that no claim comes between.
import type { Labels } from '@opsconductor/protocol';
import type { Queryable, Sql, Tx } from '../database/connection.ts';

/** How a gateway ends the agent's connection, in the words of `opsc_session`. */
export type ShutOut = 'disabled' | 'revoked';

export async function setDrain(tx: Tx, id: number, drain: boolean): Promise<void> {
  await tx`update agents set drain_requested_at = ${drain ? tx`clock_timestamp()` : null} where id = ${id}`;
}

export async function setLabels(tx: Tx, id: number, labels: Labels): Promise<void> {
  await tx`update agents set labels = ${tx.json(labels)} where id = ${id}`;
}

export async function enableAgent(tx: Tx, id: number): Promise<void> {
  await tx`update agents set state = 'active', state_changed_at = clock_timestamp() where id = ${id}`;
}

/**
 * Keeps an agent from connecting, temporarily or permanently, and makes the server that holds its connection end it.
 * Until then the session stays current, so that the agent can hand back what it has not begun. The notice contains the
 * next session number, at which a server of the previous version ends the connection at once.
 */
export async function shutOutAgent(tx: Tx, id: number, how: ShutOut): Promise<void> {
  await tx`
    with agent as (
      update agents set state = ${how}, state_changed_at = clock_timestamp() where id = ${id}
      returning id, session_number
    ) select pg_notify('opsc_session', id || '.' || (session_number + 1) || '.' || ${how}::text) from agent`;
}

/** Returns those of these agents that may not be connected, and how to end their connections. */
export async function shutOutAmong(
  sql: Queryable,
  ids: readonly number[],
): Promise<{ id: number; state: ShutOut | 'quarantined' }[]> {
  if (ids.length === 0) return [];
  return sql<{ id: number; state: ShutOut | 'quarantined' }[]>`
    select id, state from agents where id = any(${ids as number[]}::bigint[]) and state <> 'active'`;
}

export interface AgentEnd {
  agentId: number;
  code: number;
  reason: string;
  address: string | null;
}

/** A repeated, equal end is recorded at most once in this many seconds. */
const noteAgainS = 60;
/** Refused agents try again after five minutes at most. */
const inARowS = 900;

/**
 * Records how a connection of the agent ended or was refused: a different end, or one of a connection that was made since
 * the last, at once; another equal one once a minute. Equal ends are in a row while less than `inARowS` lies between.
 */
export async function noteClose(sql: Sql, { agentId, code, reason, address }: AgentEnd): Promise<void> {
  const isSame = sql`(last_close_code, last_close_reason, last_close_address) is not distinct from
    (${code}::int, ${reason}::text, ${address}::text)`;
  await sql`
    update agents set last_close_at = clock_timestamp(), last_close_code = ${code}, last_close_reason = ${reason},
      last_close_address = ${address},
      last_close_since = case
        when ${isSame} and last_close_at > clock_timestamp() - make_interval(secs => ${inARowS}) then last_close_since
        else clock_timestamp() end
    where id = ${agentId}
      and (not ${isSame} or last_close_at < clock_timestamp() - make_interval(secs => ${noteAgainS})
           or exists (select from agent_sessions s
                       where s.agent_id = ${agentId} and s.connected_at > agents.last_close_at))`;
}
