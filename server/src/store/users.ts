// Users and their roles.
import type { Role } from '@opsconductor/protocol';
import type { Grant } from '../auth/authority.ts';
import type { Queryable } from './connection.ts';
import { grantsColumn } from './grants.ts';

export interface UserRow {
  id: number;
  name: string;
  passwordHash: string | null;
  isActive: boolean;
  grants: Grant[];
}

export async function findUserById(sql: Queryable, id: number): Promise<UserRow | undefined> {
  const rows = await sql<UserRow[]>`
    select u.id, u.name, u.password_hash, u.is_active,
           ${grantsColumn(sql)} as grants
    from users u where u.id = ${id}`;
  return rows[0];
}

export async function findUserByName(sql: Queryable, name: string): Promise<UserRow | undefined> {
  const rows = await sql<UserRow[]>`
    select u.id, u.name, u.password_hash, u.is_active,
           ${grantsColumn(sql)} as grants
    from users u where u.name = ${name}`;
  return rows[0];
}

export async function insertUser(sql: Queryable, name: string, roles: readonly Role[]): Promise<number> {
  const rows = await sql<{ id: number }[]>`insert into users (name) values (${name}) returning id`;
  const id = rows[0]?.id ?? 0;
  for (const role of roles) await sql`insert into role_grants ${sql({ userId: id, role })}`;
  return id;
}

/** Locks the user's row, so that of two concurrent changes the second sees the first. */
export async function lockUser(sql: Queryable, id: number): Promise<UserRow | undefined> {
  await sql`select 1 from users where id = ${id} for update`;
  return findUserById(sql, id);
}

export async function setPasswordHash(sql: Queryable, id: number, passwordHash: string): Promise<void> {
  await sql`update users set password_hash = ${passwordHash} where id = ${id}`;
}
