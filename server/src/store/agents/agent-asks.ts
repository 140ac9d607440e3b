// Questions to agents that are connected to another server, and their answers. A notification only wakes the servers.
import type { Sql } from '../database/connection.ts';

/** Whether an agent of the segment is connected to a server other than this one. */
export async function isConnectedElsewhere(sql: Sql, segmentId: number, serverId: string): Promise<boolean> {
  const rows = await sql`
    select 1 from agent_sessions s join agents a on a.id = s.agent_id
    where a.segment_id = ${segmentId} and a.state = 'active' and s.ready and s.disconnected_at is null
      and s.expires_at > clock_timestamp() and s.server_id <> ${serverId} limit 1`;
  return rows.length > 0;
}

/** Asks all servers for something that only an agent of the segment can do; the one that has such an agent answers. */
export async function ask(
  sql: Sql,
  question: { id: string; segmentId: number; request: unknown },
): Promise<void> {
  const { id, segmentId, request } = question;
  await sql`
    with asked as (
      insert into agent_asks (id, segment_id, request) values (${id}, ${segmentId}, ${sql.json(request as never)})
    ) select pg_notify('opsc_ask', ${`${id} ${segmentId}`})`;
}

/** Returns the question to the first server that takes it, to have it answered. */
export async function takeAsk(sql: Sql, id: string, serverId: string): Promise<unknown> {
  const rows = await sql<{ request: unknown }[]>`
    update agent_asks set taken_by = ${serverId} where id = ${id} and taken_by is null returning request`;
  return rows[0]?.request;
}

/** Stores the answer and wakes the server that asked. An ask that is gone by now is left alone. */
export async function answerAsk(sql: Sql, id: string, answer: unknown): Promise<void> {
  await sql`
    with answered as (update agent_asks set answer = ${sql.json(answer as never)} where id = ${id})
    select pg_notify('opsc_answer', ${id})`;
}

/** Whether a server has taken the question. */
export async function isTaken(sql: Sql, id: string): Promise<boolean> {
  const rows = await sql`select 1 from agent_asks where id = ${id} and taken_by is not null`;
  return rows.length > 0;
}

/** Removes the question and returns the answer, if there is one. */
export async function closeAsk(sql: Sql, id: string): Promise<unknown> {
  const rows = await sql<{ answer: unknown }[]>`delete from agent_asks where id = ${id} returning answer`;
  return rows[0]?.answer ?? undefined;
}

/** Deletes questions of servers that were killed while they waited. */
export async function deleteOldAsks(sql: Sql): Promise<void> {
  await sql`delete from agent_asks where asked_at < clock_timestamp() - interval '10 minutes'`;
}
