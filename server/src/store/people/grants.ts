// Grants: a role or a single permission, for a user or a user group, everywhere or on one scope.
import type { GrantSubject, NamedScope, Permission, Role, Scope } from '@opsconductor/protocol';
import type { Grant } from '../../auth/authority.ts';
import type { Queryable } from '../database/connection.ts';
import { scopeNameColumn } from './scope-names.ts';

/** Returns a column with the grants of the user `u`, their own and those of their user groups, as JSON. */
export function grantsColumn(sql: Queryable) {
  return sql.unsafe(`(select coalesce(jsonb_agg(jsonb_build_object('role', g.role, 'permission', g.permission,
      'scope', ${scopeOfGrant}, 'categoryIds', to_jsonb(${categoriesOfGrant}))), '[]')
    from role_grants g
    where g.user_id = u.id
       or g.user_group_id in (select m.user_group_id from user_group_members m where m.user_id = u.id))`);
}

const scopeOfGrant = `case
  when g.category_id is not null then jsonb_build_object('kind', 'category', 'id', g.category_id)
  when g.segment_id is not null then jsonb_build_object('kind', 'segment', 'id', g.segment_id)
  when g.target_group_id is not null then jsonb_build_object('kind', 'target_group', 'id', g.target_group_id) end`;

/** For a grant on a category: the ids of the category and all below it, as an array. */
const categoriesOfGrant = `case when g.category_id is not null then
  array(select below.id from categories below where g.category_id = any(below.ancestor_ids)) end`;

export interface GrantRow {
  id: number;
  subject: GrantSubject;
  role: Role | null;
  permission: Permission | null;
  scope: NamedScope | null;
  categoryIds: number[] | null;
  createdAt: Date;
  createdBy: { id: number; name: string } | null;
}

export interface NewGrant {
  userId: number | null;
  userGroupId: number | null;
  role: Role | null;
  permission: Permission | null;
  scope: Scope | null;
  createdBy: number;
}

const scopeColumns = {
  category: 'categoryId',
  segment: 'segmentId',
  target_group: 'targetGroupId',
} as const;

/** @throws {PostgresError} of the constraint `role_grants_once` if the grant already exists. */
export async function insertGrant(sql: Queryable, grant: NewGrant, now: Date): Promise<number> {
  const { scope, ...rest } = grant;
  const row = {
    ...rest,
    createdAt: now,
    categoryId: null,
    segmentId: null,
    targetGroupId: null,
    ...(scope === null ? {} : { [scopeColumns[scope.kind]]: scope.id }),
  };
  const rows = await sql<{ id: number }[]>`insert into role_grants ${sql(row)} returning id`;
  return rows[0]?.id ?? 0;
}

export async function deleteGrant(sql: Queryable, id: number): Promise<void> {
  await sql`delete from role_grants where id = ${id}`;
}

export async function findGrant(sql: Queryable, id: number): Promise<GrantRow | undefined> {
  const rows = await sql<GrantRow[]>`${selectGrants(sql)} where g.id = ${id}`;
  return rows[0];
}

export interface GrantFilter {
  userId?: number;
  userGroupId?: number;
  role?: Role;
  permission?: Permission;
  scopeKind?: Scope['kind'] | 'everywhere';
  scopeId?: number;
}

/** Returns grants with ids below `beforeId`, newest first. */
export async function searchGrants(
  sql: Queryable,
  filter: GrantFilter,
  page: { limit: number; beforeId: number },
): Promise<GrantRow[]> {
  return sql<GrantRow[]>`
    ${selectGrants(sql)}
    where g.id < ${page.beforeId} ${matching(sql, filter)}
    order by g.id desc limit ${page.limit}`;
}

/** Returns all matching grants, oldest first. */
export async function listGrantsLike(sql: Queryable, filter: GrantFilter): Promise<GrantRow[]> {
  return sql<GrantRow[]>`${selectGrants(sql)} where true ${matching(sql, filter)} order by g.id`;
}

function matching(sql: Queryable, filter: GrantFilter) {
  const { userId, userGroupId, role, permission } = filter;
  return sql`
      ${userId === undefined ? sql`` : sql`and g.user_id = ${userId}`}
      ${userGroupId === undefined ? sql`` : sql`and g.user_group_id = ${userGroupId}`}
      ${role === undefined ? sql`` : sql`and g.role = ${role}`}
      ${permission === undefined ? sql`` : sql`and g.permission = ${permission}`}
      ${onScope(sql, filter)}`;
}

/** Returns all grants of a user: their own first, then those of their user groups by name. */
export async function listGrantsOf(sql: Queryable, userId: number): Promise<GrantRow[]> {
  return sql<GrantRow[]>`
    ${selectGrants(sql)}
    where g.user_id = ${userId}
       or g.user_group_id in (select user_group_id from user_group_members where user_id = ${userId})
    order by g.user_group_id is not null, lower(ug.name), g.id`;
}

/** Returns the grants of these user groups, in no particular order. */
export async function grantsOfGroups(sql: Queryable, groupIds: readonly number[]): Promise<Grant[]> {
  return sql<Grant[]>`
    select g.role, g.permission, ${sql.unsafe(scopeOfGrant)} as scope,
           ${sql.unsafe(categoriesOfGrant)} as category_ids
    from role_grants g where g.user_group_id = any(${groupIds as number[]}::bigint[])`;
}

function selectGrants(sql: Queryable) {
  return sql`
    select g.id, g.role, g.permission, g.created_at, ${sql.unsafe(categoriesOfGrant)} as category_ids,
           case when g.user_id is not null then jsonb_build_object('kind', 'user', 'id', u.id, 'name', u.name)
                else jsonb_build_object('kind', 'user_group', 'id', ug.id, 'name', ug.name) end as subject,
           (select scope || jsonb_build_object('name',
                ${scopeNameColumn(sql, "scope->>'kind'", "(scope->>'id')::bigint")})
              from (select ${sql.unsafe(scopeOfGrant)} as scope) s where scope is not null) as scope,
           case when c.id is not null then jsonb_build_object('id', c.id, 'name', c.name) end as created_by
    from role_grants g
      left join users u on u.id = g.user_id
      left join user_groups ug on ug.id = g.user_group_id
      left join users c on c.id = g.created_by`;
}

function onScope(sql: Queryable, { scopeKind, scopeId }: GrantFilter) {
  if (scopeKind === undefined) return sql``;
  if (scopeKind === 'everywhere') {
    return sql`and num_nonnulls(g.category_id, g.segment_id, g.target_group_id) = 0`;
  }
  const column = sql(`g.${scopeColumns[scopeKind]}`);
  return scopeId === undefined ? sql`and ${column} is not null` : sql`and ${column} = ${scopeId}`;
}
