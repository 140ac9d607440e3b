// Users, both people and service accounts, with their grants.
import type { Role, UserKind } from '@opsconductor/protocol';
import type { Grant } from '../../auth/authority.ts';
import { maxChangeWaitMs } from '../database/change-lock.ts';
import type { Queryable, Tx } from '../database/connection.ts';
import { boundLockWaits } from '../database/transaction.ts';
import { grantsColumn } from './grants.ts';

export interface UserRow {
  id: number;
  name: string;
  displayName: string;
  description: string;
  kind: UserKind;
  passwordHash: string | null;
  isActive: boolean;
  grants: Grant[];
}

export async function findUserById(sql: Queryable, id: number): Promise<UserRow | undefined> {
  const rows = await sql<UserRow[]>`${selectUsers(sql)} where u.id = ${id}`;
  return rows[0];
}

/** Finds a user by name, without regard to case. */
export async function findUserByName(sql: Queryable, name: string): Promise<UserRow | undefined> {
  const rows = await sql<UserRow[]>`${selectUsers(sql)} where lower(u.name) = lower(${name})`;
  return rows[0];
}

function selectUsers(sql: Queryable) {
  return sql`
    select u.id, u.name, u.display_name, u.description, u.kind, u.password_hash, u.is_active,
           ${grantsColumn(sql)} as grants
    from users u`;
}

/** Inserts a person with these roles everywhere. */
export async function insertUser(sql: Queryable, name: string, roles: readonly Role[]): Promise<number> {
  const rows = await sql<{ id: number }[]>`insert into users (name) values (${name}) returning id`;
  const id = rows[0]?.id ?? 0;
  for (const role of roles) await sql`insert into role_grants ${sql({ userId: id, role })}`;
  return id;
}

export interface UserFields {
  name: string;
  displayName: string;
  description: string;
}

export async function insertUserFields(
  sql: Queryable,
  user: UserFields & { kind: UserKind },
  now: Date,
): Promise<number> {
  const rows = await sql<{ id: number }[]>`
    insert into users ${sql({ ...user, createdAt: now, updatedAt: now })} returning id`;
  return rows[0]?.id ?? 0;
}

export async function updateUser(
  sql: Queryable,
  id: number,
  user: UserFields & { isActive: boolean },
  now: Date,
): Promise<void> {
  await sql`update users set ${sql({ ...user, updatedAt: now })} where id = ${id}`;
}

export async function deleteUser(sql: Queryable, id: number): Promise<void> {
  await sql`delete from users where id = ${id}`;
}

/**
 * Locks the user's row, so that the second of two concurrent changes sees the first. It fails with 55P03 if others hold
 * the row for longer than it may wait.
 */
export async function lockUser(
  tx: Tx,
  id: number,
  mostMs: number = maxChangeWaitMs,
): Promise<UserRow | undefined> {
  // Sent together.
  await Promise.all([boundLockWaits(tx, mostMs), tx`select 1 from users where id = ${id} for update`]);
  return findUserById(tx, id);
}

/** `null` removes the password. */
export async function setPasswordHash(
  sql: Queryable,
  id: number,
  passwordHash: string | null,
): Promise<void> {
  await sql`update users set password_hash = ${passwordHash} where id = ${id}`;
}

export async function noteSignIn(sql: Queryable, id: number, now: Date): Promise<void> {
  await sql`update users set last_sign_in_at = ${now} where id = ${id}`;
}

/**
 * Returns the tables in which the user is named for what they made or decided: those with a foreign key to users that
 * deleting the user would set to null. Read from the catalog, so that none is missed.
 */
export async function tablesNaming(sql: Queryable, id: number): Promise<string[]> {
  const references = await sql<{ tableName: string; columnName: string }[]>`
    select c.conrelid::regclass::text as table_name, a.attname as column_name
    from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = any(c.conkey)
    where c.contype = 'f' and c.confrelid = 'users'::regclass and c.confdeltype = 'n' and c.conparentid = 0
    order by 1, 2`;
  const naming: string[] = [];
  for (const { tableName, columnName } of references) {
    if (naming.includes(tableName)) continue;
    const rows = await sql`select from ${sql(tableName)} where ${sql(columnName)} = ${id} limit 1`;
    if (rows.length > 0) naming.push(tableName);
  }
  return naming;
}
