// API tokens, found by hash. The caller passes the server's time.
import type { NamedScope, Permission, Scope } from '@opsconductor/protocol';
import type { Grant, TokenBounds } from '../../auth/authority.ts';
import type { Queryable } from '../database/connection.ts';
import { grantsColumn } from './grants.ts';
import { joinMaker, type MakerColumns, makerColumns } from './maker-columns.ts';
import type { AsOf } from './people.ts';
import { scopeNameColumn } from './scope-names.ts';

export interface ApiTokenOwner {
  id: number;
  name: string;
  userId: number;
  userName: string;
  grants: Grant[];
  bounds: TokenBounds;
  expiresAt: Date | null;
  lastUsedAt: Date | null;
}

export interface ApiTokenRow extends MakerColumns {
  id: number;
  name: string;
  prefix: string;
  permissions: Permission[] | null;
  scopes: NamedScope[] | null;
  createdAt: Date;
  expiresAt: Date | null;
  lastUsedAt: Date | null;
  lastUsedAddress: string | null;
}

/** Returns the token of an active user, if it has not expired. */
export async function findApiToken(
  sql: Queryable,
  key: { tokenHash: Buffer } | { id: number },
  now: Date,
): Promise<ApiTokenOwner | undefined> {
  const rows = await sql<ApiTokenOwner[]>`
    select t.id, t.name, t.user_id, u.name as user_name, t.expires_at, t.last_used_at,
           ${grantsColumn(sql)} as grants,
           jsonb_build_object('permissions', t.permissions, 'scopes', t.scopes, 'categoryIds',
             (select jsonb_agg(below.id) from jsonb_array_elements(t.scopes) scope
                join categories below on (scope->>'id')::bigint = any(below.ancestor_ids)
               where scope->>'kind' = 'category')) as bounds
    from api_tokens t join users u on u.id = t.user_id
    where ${'id' in key ? sql`t.id = ${key.id}` : sql`t.token_hash = ${key.tokenHash}`}
      and u.is_active and (t.expires_at is null or t.expires_at > ${now})`;
  return rows[0];
}

/** Returns when the token of an active user expired; undefined if it did not, or is not known. */
export async function findExpiry(sql: Queryable, tokenHash: Buffer, now: Date): Promise<Date | undefined> {
  const rows = await sql<{ expiresAt: Date }[]>`
    select t.expires_at from api_tokens t join users u on u.id = t.user_id
    where t.token_hash = ${tokenHash} and u.is_active and t.expires_at <= ${now}`;
  return rows[0]?.expiresAt;
}

/** Notes that a token was used. A later use that is already noted, by another server perhaps, stays. */
export async function touchApiToken(sql: Queryable, id: number, now: Date, address: string): Promise<void> {
  await sql`
    update api_tokens set last_used_at = ${now}, last_used_address = ${address}
    where id = ${id} and (last_used_at is null or last_used_at < ${now})`;
}

export interface NewApiToken {
  userId: number;
  name: string;
  prefix: string;
  tokenHash: Buffer;
  createdAt: Date;
  expiresAt: Date | null;
  permissions?: readonly Permission[] | null;
  scopes?: readonly Scope[] | null;
  createdBy?: number | null;
}

/** Returns its id. */
export async function insertApiToken(sql: Queryable, token: NewApiToken): Promise<number> {
  const { permissions = null, scopes = null, createdBy = null, ...plain } = token;
  const row = {
    ...plain,
    createdBy,
    permissions,
    scopes: scopes === null ? null : sql.json(scopes as never),
  };
  const inserted = await sql<{ id: number }[]>`insert into api_tokens ${sql(row as never)} returning id`;
  return inserted[0]?.id ?? 0;
}

/** Returns a token as lists show it, which must exist. */
export async function readApiToken(sql: Queryable, id: number, asOf: AsOf): Promise<ApiTokenRow> {
  const rows = await sql<ApiTokenRow[]>`select ${listed(sql, asOf)} where t.id = ${id}`;
  const token = rows[0];
  if (token === undefined) throw new Error(`there is no API token ${id}`);
  return token;
}

/** Returns tokens with ids below `beforeId`, newest first. */
export async function listApiTokens(
  sql: Queryable,
  userId: number,
  page: { limit: number; beforeId: number },
  asOf: AsOf,
): Promise<ApiTokenRow[]> {
  return sql<ApiTokenRow[]>`
    select ${listed(sql, asOf)}
    where t.user_id = ${userId} and t.id < ${page.beforeId} order by t.id desc limit ${page.limit}`;
}

/** Counts a user's unexpired tokens, and checks whether one of them has the name. */
export async function countApiTokens(
  sql: Queryable,
  token: { userId: number; name: string },
  now: Date,
): Promise<{ count: number; isNameTaken: boolean }> {
  const rows = await sql<{ count: number; isNameTaken: boolean }[]>`
    select count(*) as count, coalesce(bool_or(lower(name) = lower(${token.name})), false) as is_name_taken
    from api_tokens where user_id = ${token.userId} and (expires_at is null or expires_at > ${now})`;
  return rows[0] ?? { count: 0, isNameTaken: false };
}

/** Deletes a token of the user. Returns its name and prefix, or `undefined` if there is none. */
export async function deleteApiToken(
  sql: Queryable,
  userId: number,
  id: number,
): Promise<{ name: string; prefix: string } | undefined> {
  const rows = await sql<{ name: string; prefix: string }[]>`
    delete from api_tokens where user_id = ${userId} and id = ${id} returning name, prefix`;
  return rows[0];
}

/** Deletes the tokens of a user that had expired before this time. */
export async function deleteExpiredApiTokens(sql: Queryable, userId: number, before: Date): Promise<void> {
  await sql`delete from api_tokens where user_id = ${userId} and expires_at < ${before}`;
}

/** Deletes all tokens of a user. Returns how many. */
export async function deleteApiTokens(sql: Queryable, userId: number): Promise<number> {
  return (await sql`delete from api_tokens where user_id = ${userId}`).count;
}

/** What a list shows of the tokens `t`, and from where. A scope that was deleted has an empty name. */
function listed(sql: Queryable, asOf: AsOf) {
  return sql`t.id, t.name, t.prefix, t.permissions, t.created_at, t.expires_at, t.last_used_at, t.last_used_address,
    (select jsonb_agg(scope || jsonb_build_object('name',
         coalesce(${scopeNameColumn(sql, "scope->>'kind'", "(scope->>'id')::bigint")}, '')) order by n)
       from jsonb_array_elements(t.scopes) with ordinality as listed(scope, n)) as scopes,
    ${makerColumns(sql, asOf)}
    from api_tokens t ${joinMaker(sql, 'api_token', 't.id')}`;
}
