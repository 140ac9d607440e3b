// Browser sessions. The caller passes the server's time.
import type { Grant } from '../../auth/authority.ts';
import type { Queryable } from '../database/connection.ts';
import { grantsColumn } from './grants.ts';

export interface SessionRow {
  id: number;
  userId: number;
  userName: string;
  grants: Grant[];
  expiresAt: Date;
  lastSeenAt: Date;
}

/** How long a session lasts while unused, and at most. */
export interface SessionLimits {
  idleMs: number;
  absoluteMs: number;
}

/** How a session is found: by a browser's cookie, or by the id that the server remembers. */
export type SessionKey = { tokenHash: Buffer } | { id: number };

/** Returns the session of an active user, if it is neither past its absolute nor its idle limit. */
export async function findSession(
  sql: Queryable,
  key: SessionKey,
  now: Date,
  limits: SessionLimits,
): Promise<SessionRow | undefined> {
  const rows = await sql<SessionRow[]>`
    select s.id, s.user_id, u.name as user_name, s.last_seen_at,
           least(s.expires_at, s.created_at + ${limits.absoluteMs} * interval '1 millisecond') as expires_at,
           ${grantsColumn(sql)} as grants
    from sessions s join users u on u.id = s.user_id
    where ${'id' in key ? sql`s.id = ${key.id}` : sql`s.token_hash = ${key.tokenHash}`}
      and u.is_active and ${isOpen(sql, now, limits)}`;
  return rows[0];
}

export interface NewSession {
  userId: number;
  tokenHash: Buffer;
  createdAt: Date;
  expiresAt: Date;
  address: string;
  userAgent: string;
  openedBy: 'password' | 'code';
}

export async function insertSession(sql: Queryable, session: NewSession): Promise<number> {
  const rows = await sql<{ id: number }[]>`
    insert into sessions ${sql({ ...session, lastSeenAt: session.createdAt })} returning id`;
  return rows[0]?.id ?? 0;
}

/** Notes that a session was used. A later use that is already noted, by another server perhaps, stays. */
export async function touchSession(sql: Queryable, id: number, now: Date, address: string): Promise<void> {
  await sql`update sessions set last_seen_at = ${now}, address = ${address} where id = ${id} and last_seen_at < ${now}`;
}

export interface ListedSession {
  id: number;
  address: string;
  userAgent: string;
  createdAt: Date;
  lastSeenAt: Date;
  expiresAt: Date;
}

/** Returns the open sessions of a user, the most recently used first. */
export async function listSessions(
  sql: Queryable,
  userId: number,
  now: Date,
  limits: SessionLimits,
): Promise<ListedSession[]> {
  return sql<ListedSession[]>`
    select s.id, s.address, s.user_agent, s.created_at, s.last_seen_at,
           least(s.expires_at, s.created_at + ${limits.absoluteMs} * interval '1 millisecond') as expires_at
    from sessions s where s.user_id = ${userId} and ${isOpen(sql, now, limits)}
    order by s.last_seen_at desc, s.id desc limit 1000`;
}

/** Whether the session was opened by a one-time code after the given time. */
export async function wasOpenedByCode(sql: Queryable, id: number, after: Date): Promise<boolean> {
  const rows = await sql`
    select from sessions where id = ${id} and opened_by = 'code' and created_at > ${after}`;
  return rows.length > 0;
}

/** Ends a session of a user. Returns false if there is none. */
export async function deleteSession(sql: Queryable, userId: number, id: number): Promise<boolean> {
  const result = await sql`delete from sessions where user_id = ${userId} and id = ${id}`;
  return result.count > 0;
}

/** Ends the session of a cookie. Returns its id and user, or `undefined` if the cookie belongs to none. */
export async function deleteSessionByToken(
  sql: Queryable,
  tokenHash: Buffer,
): Promise<{ id: number; userId: number } | undefined> {
  const rows = await sql<{ id: number; userId: number }[]>`
    delete from sessions where token_hash = ${tokenHash} returning id, user_id`;
  return rows[0];
}

/** Returns the ids of all sessions of a user but one, expired ones too. */
export async function otherSessionIds(
  sql: Queryable,
  userId: number,
  keptId: number | null,
): Promise<number[]> {
  const rows = await sql<{ id: number }[]>`
    select id from sessions where user_id = ${userId} and id is distinct from ${keptId}::bigint order by id`;
  return rows.map(({ id }) => id);
}

/** Ends all sessions of a user but one. Returns how many. */
export async function deleteOtherSessions(
  sql: Queryable,
  userId: number,
  keptId: number | null,
): Promise<number> {
  const result = await sql`
    delete from sessions where user_id = ${userId} and id is distinct from ${keptId}::bigint`;
  return result.count;
}

/** Deletes sessions that have lasted too long, or were idle for too long. */
export async function deleteExpiredSessions(sql: Queryable, now: Date, limits: SessionLimits): Promise<void> {
  await sql`delete from sessions s where not ${isOpen(sql, now, limits)}`;
}

/** SQL condition: the session `s` is neither past its absolute nor its idle limit. */
export function isOpen(sql: Queryable, now: Date, limits: SessionLimits) {
  return sql`(s.expires_at > ${now} and s.created_at > ${new Date(now.getTime() - limits.absoluteMs)}
    and s.last_seen_at > ${new Date(now.getTime() - limits.idleMs)})`;
}
