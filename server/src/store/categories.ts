import type { Reach } from '../auth/authority.ts';
import type { Queryable, Tx } from './connection.ts';
import { jobWithin, unrestricted } from './visibility.ts';

export interface CategoryRow {
  id: number;
  name: string;
  description: string;
  jobCount: number;
  createdAt: Date;
}

/** The categories within the reaches, by name. */
export async function listCategories(sql: Queryable, reaches: readonly Reach[]): Promise<CategoryRow[]> {
  return sql<
    CategoryRow[]
  >`${selectCategories(sql)} where ${jobWithin(sql, reaches, 'c.id')} order by c.name`;
}

export async function findCategory(
  sql: Queryable,
  id: number,
  reaches: readonly Reach[],
): Promise<CategoryRow | undefined> {
  const [row] = await sql<CategoryRow[]>`
    ${selectCategories(sql)} where c.id = ${id} and ${jobWithin(sql, reaches, 'c.id')}`;
  return row;
}

/** The category of that name, locked against deletion, whoever may see it. */
export async function holdCategory(tx: Tx, name: string): Promise<{ id: number; name: string } | undefined> {
  const [row] = await tx<{ id: number; name: string }[]>`
    select id, name from categories where name = ${name} for key share`;
  return row;
}

export async function insertCategory(
  tx: Tx,
  category: { name: string; description: string },
): Promise<number> {
  const [row] = await tx<{ id: number }[]>`
    insert into categories ${tx(category, 'name', 'description')} returning id`;
  if (row === undefined) throw new Error('insert returned nothing');
  return row.id;
}

/** Locks a category, so that no job comes into it meanwhile; undefined when there is none. */
export async function lockCategory(tx: Tx, id: number): Promise<CategoryRow | undefined> {
  const locked = await tx`select 1 from categories where id = ${id} for update`;
  return locked.length === 0 ? undefined : findCategory(tx, id, unrestricted);
}

export async function updateCategory(
  tx: Tx,
  id: number,
  category: { name: string; description: string },
): Promise<void> {
  await tx`update categories set ${tx(category, 'name', 'description')} where id = ${id}`;
}

/** Deletes a category that no job is in; with it go the grants on it. */
export async function deleteCategory(tx: Tx, id: number): Promise<void> {
  await tx`delete from categories where id = ${id}`;
}

function selectCategories(sql: Queryable) {
  return sql`
    select c.id, c.name, c.description, c.created_at,
           (select count(*)::int from jobs j where j.category_id = c.id) as job_count
      from categories c`;
}
