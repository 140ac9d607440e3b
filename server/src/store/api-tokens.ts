// API tokens, by hash. Times are the server's, given by the caller.
import type { Grant, TokenBounds } from '../auth/authority.ts';
import type { Queryable } from './connection.ts';
import { grantsColumn } from './grants.ts';

export interface ApiTokenOwner {
  id: number;
  userId: number;
  userName: string;
  grants: Grant[];
  bounds: TokenBounds;
  expiresAt: Date | null;
  lastUsedAt: Date | null;
}

export interface ApiTokenRow {
  id: number;
  name: string;
  prefix: string;
  createdAt: Date;
  expiresAt: Date | null;
  lastUsedAt: Date | null;
}

/** The token of an active user, if it has not expired. */
export async function findApiToken(
  sql: Queryable,
  tokenHash: Buffer,
  now: Date,
): Promise<ApiTokenOwner | undefined> {
  const rows = await sql<ApiTokenOwner[]>`
    select t.id, t.user_id, u.name as user_name, t.expires_at, t.last_used_at,
           ${grantsColumn(sql)} as grants,
           jsonb_build_object('permissions', t.permissions, 'scopes', t.scopes) as bounds
    from api_tokens t join users u on u.id = t.user_id
    where t.token_hash = ${tokenHash} and u.is_active and (t.expires_at is null or t.expires_at > ${now})`;
  return rows[0];
}

export async function touchApiToken(sql: Queryable, id: number, now: Date): Promise<void> {
  await sql`
    update api_tokens set last_used_at = ${now} where id = ${id} and (last_used_at is null or last_used_at < ${now})`;
}

export interface NewApiToken {
  userId: number;
  name: string;
  prefix: string;
  tokenHash: Buffer;
  createdAt: Date;
  expiresAt: Date | null;
}

export async function insertApiToken(sql: Queryable, token: NewApiToken): Promise<ApiTokenRow> {
  const rows = await sql<ApiTokenRow[]>`
    insert into api_tokens ${sql({ ...token })}
    returning id, name, prefix, created_at, expires_at, last_used_at`;
  const row = rows[0];
  if (row === undefined) throw new Error('insert into api_tokens returned no row');
  return row;
}

/** Newest first, those below `beforeId`. */
export async function listApiTokens(
  sql: Queryable,
  userId: number,
  page: { limit: number; beforeId: number },
): Promise<ApiTokenRow[]> {
  return sql<ApiTokenRow[]>`
    select id, name, prefix, created_at, expires_at, last_used_at from api_tokens
    where user_id = ${userId} and id < ${page.beforeId} order by id desc limit ${page.limit}`;
}

export async function countApiTokens(sql: Queryable, userId: number): Promise<number> {
  const rows = await sql<{ n: number }[]>`select count(*) as n from api_tokens where user_id = ${userId}`;
  return rows[0]?.n ?? 0;
}

/** Deletes a token of the user; its name and prefix, or undefined where there is none. */
export async function deleteApiToken(
  sql: Queryable,
  userId: number,
  id: number,
): Promise<{ name: string; prefix: string } | undefined> {
  const rows = await sql<{ name: string; prefix: string }[]>`
    delete from api_tokens where user_id = ${userId} and id = ${id} returning name, prefix`;
  return rows[0];
}

export async function findApiTokenExpiry(sql: Queryable, id: number): Promise<Date | null> {
  const rows = await sql<{ expiresAt: Date | null }[]>`select expires_at from api_tokens where id = ${id}`;
  return rows[0]?.expiresAt ?? null;
}
