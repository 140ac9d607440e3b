// Browser sessions. Times are the server's, given by the caller.
import type { Grant } from '../auth/authority.ts';
import type { Queryable } from './connection.ts';
import { grantsColumn } from './grants.ts';

export interface SessionRow {
  id: number;
  userId: number;
  userName: string;
  grants: Grant[];
  expiresAt: Date;
  lastSeenAt: Date;
}

/** The session of an active user, if it is neither past its absolute nor its idle limit. */
export async function findSession(
  sql: Queryable,
  tokenHash: Buffer,
  now: Date,
  idleMs: number,
): Promise<SessionRow | undefined> {
  const rows = await sql<SessionRow[]>`
    select s.id, s.user_id, u.name as user_name, s.expires_at, s.last_seen_at,
           ${grantsColumn(sql)} as grants
    from sessions s join users u on u.id = s.user_id
    where s.token_hash = ${tokenHash} and u.is_active
      and s.expires_at > ${now} and s.last_seen_at > ${new Date(now.getTime() - idleMs)}`;
  return rows[0];
}

export interface NewSession {
  userId: number;
  tokenHash: Buffer;
  createdAt: Date;
  expiresAt: Date;
  address: string;
}

export async function insertSession(sql: Queryable, session: NewSession): Promise<number> {
  const rows = await sql<{ id: number }[]>`
    insert into sessions ${sql({ ...session, lastSeenAt: session.createdAt })} returning id`;
  return rows[0]?.id ?? 0;
}

export async function touchSession(sql: Queryable, id: number, now: Date, address: string): Promise<void> {
  await sql`update sessions set last_seen_at = ${now}, address = ${address} where id = ${id} and last_seen_at < ${now}`;
}

export async function deleteSession(sql: Queryable, id: number): Promise<void> {
  await sql`delete from sessions where id = ${id}`;
}

/** Ends all sessions of a user but one; returns how many. */
export async function deleteOtherSessions(
  sql: Queryable,
  userId: number,
  keptId: number | null,
): Promise<number> {
  const result = await sql`
    delete from sessions where user_id = ${userId} and id is distinct from ${keptId}::bigint`;
  return result.count;
}

export async function deleteExpiredSessions(sql: Queryable, now: Date, idleMs: number): Promise<void> {
  await sql`
    delete from sessions where expires_at <= ${now} or last_seen_at <= ${new Date(now.getTime() - idleMs)}`;
}
