import type { Category } from '@opsconductor/protocol';
import type { Reach } from '../auth/authority.ts';
import { notFound } from '../errors.ts';
import type { Queryable } from '../store/database/connection.ts';
import {
  type CategoryRow,
  findCategory,
  listCategories as listCategoryRows,
} from '../store/jobs/categories.ts';

/** Returns the categories within the reaches, by name. An installation has tens of them, so the list is not paged. */
export async function listCategories(sql: Queryable, reaches: readonly Reach[]): Promise<Category[]> {
  return (await listCategoryRows(sql, reaches)).map(toCategory);
}

/** @throws {AppError} `not_found`. */
export async function getCategory(sql: Queryable, id: number, reaches: readonly Reach[]): Promise<Category> {
  const row = await findCategory(sql, id, reaches);
  if (row === undefined) throw notFound('Category');
  return toCategory(row);
}

function toCategory({ createdAt, ...row }: CategoryRow): Category {
  return { ...row, createdAt: createdAt.toISOString() };
}
