// User groups and their members.
import type { UserKind } from '@opsconductor/protocol';
import type { Queryable } from '../database/connection.ts';
import { containsPattern } from '../database/cursor.ts';

export interface UserGroupRow {
  id: number;
  name: string;
  description: string;
  members: number;
  grants: number;
  createdAt: Date;
  updatedAt: Date;
}

export interface UserGroupFields {
  name: string;
  description: string;
}

/** @throws {PostgresError} of a unique constraint if the name is taken. */
export async function insertUserGroup(sql: Queryable, group: UserGroupFields, now: Date): Promise<number> {
  const rows = await sql<{ id: number }[]>`
    insert into user_groups ${sql({ ...group, createdAt: now, updatedAt: now })} returning id`;
  return rows[0]?.id ?? 0;
}

export async function updateUserGroup(
  sql: Queryable,
  id: number,
  group: UserGroupFields,
  now: Date,
): Promise<void> {
  await sql`update user_groups set ${sql({ ...group, updatedAt: now })} where id = ${id}`;
}

export async function deleteUserGroup(sql: Queryable, id: number): Promise<void> {
  await sql`delete from user_groups where id = ${id}`;
}

export async function findUserGroup(sql: Queryable, id: number): Promise<UserGroupRow | undefined> {
  const rows = await sql<UserGroupRow[]>`${selectUserGroups(sql)} where g.id = ${id}`;
  return rows[0];
}

/** Returns groups by name, starting after `after`. */
export async function searchUserGroups(
  sql: Queryable,
  filter: { search?: string },
  page: { limit: number; after?: { name: string; id: number } },
): Promise<(UserGroupRow & { sortName: string })[]> {
  const { search } = filter;
  return sql<(UserGroupRow & { sortName: string })[]>`
    ${selectUserGroups(sql)}
    where ${search === undefined ? sql`true` : sql`g.name ilike ${containsPattern(search)}`}
      ${page.after === undefined ? sql`` : sql`and (lower(g.name), g.id) > (${page.after.name}, ${page.after.id})`}
    order by lower(g.name), g.id limit ${page.limit}`;
}

/** Returns those of these groups that exist. */
export async function existingUserGroups(
  sql: Queryable,
  ids: readonly number[],
): Promise<{ id: number; name: string }[]> {
  return sql<{ id: number; name: string }[]>`
    select id, name from user_groups where id = any(${ids as number[]}::bigint[])`;
}

export interface MemberRow {
  id: number;
  name: string;
  displayName: string;
  kind: UserKind;
  isActive: boolean;
  addedAt: Date;
}

/** Returns members by name, starting after `after`. */
export async function listMembers(
  sql: Queryable,
  groupId: number,
  page: { limit: number; after?: { name: string; id: number } },
): Promise<(MemberRow & { sortName: string })[]> {
  return sql<(MemberRow & { sortName: string })[]>`
    select u.id, u.name, u.display_name, u.kind, u.is_active, m.added_at, lower(u.name) as sort_name
    from user_group_members m join users u on u.id = m.user_id
    where m.user_group_id = ${groupId}
      ${page.after === undefined ? sql`` : sql`and (lower(u.name), u.id) > (${page.after.name}, ${page.after.id})`}
    order by lower(u.name), u.id limit ${page.limit}`;
}

export async function memberIds(sql: Queryable, groupId: number): Promise<number[]> {
  const rows = await sql<{ userId: number }[]>`
    select user_id from user_group_members where user_group_id = ${groupId}`;
  return rows.map((row) => row.userId);
}

export async function groupIdsOf(sql: Queryable, userId: number): Promise<number[]> {
  const rows = await sql<{ userGroupId: number }[]>`
    select user_group_id from user_group_members where user_id = ${userId} order by 1`;
  return rows.map((row) => row.userGroupId);
}

/** Adds a member. Returns false if they already were one. */
export async function addMember(
  sql: Queryable,
  groupId: number,
  userId: number,
  now: Date,
): Promise<boolean> {
  const result = await sql`
    insert into user_group_members (user_group_id, user_id, added_at) values (${groupId}, ${userId}, ${now})
    on conflict do nothing`;
  return result.count > 0;
}

/** Removes a member. Returns false if they were none. */
export async function removeMember(sql: Queryable, groupId: number, userId: number): Promise<boolean> {
  const result = await sql`
    delete from user_group_members where user_group_id = ${groupId} and user_id = ${userId}`;
  return result.count > 0;
}

function selectUserGroups(sql: Queryable) {
  return sql`
    select g.id, g.name, g.description, g.created_at, g.updated_at, lower(g.name) as sort_name,
           (select count(*) from user_group_members m where m.user_group_id = g.id) as members,
           (select count(*) from role_grants r where r.user_group_id = g.id) as grants
    from user_groups g`;
}
