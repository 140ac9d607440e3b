import type { Permission, Role } from '@opsconductor/protocol';
import type { Reach } from '../../auth/authority.ts';
import type { Queryable, Tx } from '../database/connection.ts';
import { jobWithin, unrestricted } from '../people/visibility.ts';

export interface CategoryRow {
  id: number;
  name: string;
  description: string;
  jobCount: number;
  /** `null` at the top level, and if the reader does not see the parent. */
  parentId: number | null;
  createdAt: Date;
}

/** Returns the categories within the reaches, by name. */
export async function listCategories(sql: Queryable, reaches: readonly Reach[]): Promise<CategoryRow[]> {
  return sql<
    CategoryRow[]
  >`${selectCategories(sql, reaches)} where ${jobWithin(sql, reaches, 'c.id')} order by c.name`;
}

export async function findCategory(
  sql: Queryable,
  id: number,
  reaches: readonly Reach[],
): Promise<CategoryRow | undefined> {
  const [row] = await sql<CategoryRow[]>`
    ${selectCategories(sql, reaches)} where c.id = ${id} and ${jobWithin(sql, reaches, 'c.id')}`;
  return row;
}

/** Returns the category with that name, locked against deletion, regardless of the caller's reaches. */
export async function holdCategory(tx: Tx, name: string): Promise<{ id: number; name: string } | undefined> {
  const [row] = await tx<{ id: number; name: string }[]>`
    select id, name from categories where name = ${name} for key share`;
  return row;
}

/**
 * Keeps the tree unchanged until the transaction ends, so that two moves can't make a cycle. Reading categories and
 * putting jobs into them is still possible.
 */
export async function lockCategoryTree(tx: Tx): Promise<void> {
  await tx`lock table categories in share row exclusive mode`;
}

/** Something that was moved from one category to another. */
export interface MovedRow {
  id: string;
  name: string;
  fromId: number;
  from: string;
  toId: number;
}

export interface NewCategory {
  /** The whole path. */
  name: string;
  description: string;
  parentId: number | null;
}

/** @throws {PostgresError} of the constraint `categories_depth` if it would be nested too deeply. */
export async function insertCategory(tx: Tx, category: NewCategory): Promise<number> {
  const [row] = await tx<{ id: number }[]>`
    insert into categories ${tx(category, 'name', 'description', 'parentId')} returning id`;
  if (row === undefined) throw new Error('insert returned nothing');
  return row.id;
}

/** Locks a category, so that no job is put into it meanwhile. Returns `undefined` if there is none. */
export async function lockCategory(tx: Tx, id: number): Promise<CategoryRow | undefined> {
  const locked = await tx`select 1 from categories where id = ${id} for update`;
  return locked.length === 0 ? undefined : findCategory(tx, id, unrestricted);
}

/**
 * Changes a category. The categories below it move with it, and their paths change.
 *
 * @throws {PostgresError} of the constraints `categories_no_cycle` and `categories_depth`.
 */
export async function updateCategory(
  tx: Tx,
  id: number,
  { name, description, parentId }: NewCategory,
): Promise<void> {
  // The parent first, because what is below moves with it. Two names may be equal in between, but not in the end.
  await tx`update categories set parent_id = ${parentId} where id = ${id} and parent_id is distinct from ${parentId}`;
  await tx`
    update categories c set description = case when c.id = ${id} then ${description} else c.description end,
      name = ${name} || substr(c.name, length((select name from categories where id = ${id})) + 1)
    where ${id}::bigint = any(c.ancestor_ids)`;
}

/** Locks a category and those above it against grants on them. Waits for grants that are just being made. */
export async function lockAgainstGrants(tx: Tx, id: number): Promise<void> {
  await tx`
    select 1 from categories
     where id = any(array(select unnest(ancestor_ids) from categories where id = ${id})) order by id for update`;
}

/** Returns what anybody has been granted on the category `parentId` or above it, and not on or above `id` already. */
export async function grantsGainedBelow(
  tx: Tx,
  id: number,
  parentId: number,
): Promise<{ on: string; role: Role | null; permission: Permission | null }[]> {
  return tx<{ on: string; role: Role | null; permission: Permission | null }[]>`
    select distinct above.name as "on", g.role, g.permission
      from role_grants g join categories above on above.id = g.category_id
      join categories parent on parent.id = ${parentId} and above.id = any(parent.ancestor_ids)
     where not exists (select from categories own where own.id = ${id} and above.id = any(own.ancestor_ids))
     order by 1, 2, 3`;
}

/** Counts the categories directly in this one. */
export async function countSubcategories(tx: Tx, id: number): Promise<number> {
  const [row] = await tx<{ count: number }[]>`
    select count(*)::int as count from categories where parent_id = ${id}`;
  return row?.count ?? 0;
}

/**
 * Locks the category and all below it, so that no job is put into them meanwhile. Returns them, each after those inside
 * it.
 */
export async function lockCategoriesFrom(tx: Tx, id: number): Promise<{ id: number; name: string }[]> {
  await tx`select 1 from categories where ${id}::bigint = any(ancestor_ids) order by id for update`;
  return tx<{ id: number; name: string }[]>`
    select id, name from categories where ${id}::bigint = any(ancestor_ids)
     order by cardinality(ancestor_ids) desc, name`;
}

/** Counts the jobs in any of these, except deleted ones. */
export async function countJobsIn(tx: Tx, ids: readonly number[]): Promise<number> {
  const [row] = await tx<{ count: number }[]>`
    select count(*)::int as count from jobs where category_id = any(${ids as number[]}::bigint[]) and deleted_at is null`;
  return row?.count ?? 0;
}

/** Moves deleted jobs whose runs are kept, because the category decides who may see these runs. */
export async function moveDeletedJobs(tx: Tx, from: readonly number[], to: string): Promise<MovedRow[]> {
  return tx<MovedRow[]>`
    update jobs j set category_id = new.id
      from categories old, categories new
     where old.id = j.category_id and new.name = ${to}
       and j.category_id = any(${from as number[]}::bigint[]) and j.deleted_at is not null
    returning j.id::text as id, j.name, old.id as from_id, old.name as "from", new.id as to_id`;
}

/** Counts deleted jobs of this category whose runs are kept. */
export async function countDeletedJobs(tx: Tx, id: number): Promise<number> {
  const [row] = await tx<{ count: number }[]>`
    select count(*)::int as count from jobs where category_id = ${id} and deleted_at is not null`;
  return row?.count ?? 0;
}

/** Returns the length of the longest path among the category and all below it. */
export async function longestBelow(tx: Tx, id: number): Promise<number> {
  const [row] = await tx<{ longest: number }[]>`
    select coalesce(max(length(name)), 0)::int as longest from categories where ${id}::bigint = any(ancestor_ids)`;
  return row?.longest ?? 0;
}

/** Deletes a category that contains no job, with the grants on it. */
export async function deleteCategory(tx: Tx, id: number): Promise<void> {
  await tx`delete from categories where id = ${id}`;
}

function selectCategories(sql: Queryable, reaches: readonly Reach[]) {
  return sql`
    select c.id, c.name, c.description, c.created_at,
           case when ${jobWithin(sql, reaches, 'c.parent_id')} then c.parent_id end as parent_id,
           (select count(*)::int from jobs j where j.category_id = c.id and j.deleted_at is null) as job_count
      from categories c`;
}
