import { type Category, type CategoryRequestSchema, generalCategory } from '@opsconductor/protocol';
import type { Static } from 'typebox';
import { recordAudit } from '../audit/record-audit.ts';
import { auditedBy, type Caller } from '../caller.ts';
import { AppError, notFound } from '../errors.ts';
import { refuseUnstorableText } from '../storable-text.ts';
import {
  deleteCategory as deleteCategoryRow,
  insertCategory,
  lockCategory,
  updateCategory as updateCategoryRow,
} from '../store/categories.ts';
import { type Sql, violatedConstraint } from '../store/connection.ts';
import { inTransaction } from '../store/transaction.ts';
import { unrestricted } from '../store/visibility.ts';
import { getCategory } from './list-categories.ts';

export type CategoryRequest = Static<typeof CategoryRequestSchema>;

/** @throws {AppError} `conflict` when the name is taken. */
export async function createCategory(sql: Sql, request: CategoryRequest, caller: Caller): Promise<Category> {
  refuseUnstorableText(request);
  const fields = fieldsOf(request);
  const id = await inTransaction(sql, async (tx) => {
    const id = await insertCategory(tx, fields);
    await recordAudit(tx, {
      ...auditedBy(caller),
      action: 'category.created',
      object: { kind: 'category', id },
      scope: { categoryId: id },
      detail: fields,
    });
    return id;
  }).catch((error) => {
    throw nameTaken(error, request.name);
  });
  return getCategory(sql, id, unrestricted);
}

/**
 * Changes a category as a whole. Its jobs stay in it, whatever it is called.
 *
 * @throws {AppError} `not_found`; `conflict` for a taken name, or another name for the category of jobs that name none.
 */
export async function updateCategory(
  sql: Sql,
  id: number,
  request: CategoryRequest,
  caller: Caller,
): Promise<Category> {
  refuseUnstorableText(request);
  const fields = fieldsOf(request);
  await inTransaction(sql, async (tx) => {
    const category = await lockCategory(tx, id);
    if (category === undefined) throw notFound('Category');
    if (id === generalCategory.id && fields.name !== category.name) {
      throw new AppError(
        'conflict',
        `${category.name} is where jobs go that name no category: it keeps its name.`,
      );
    }
    await updateCategoryRow(tx, id, fields);
    await recordAudit(tx, {
      ...auditedBy(caller),
      action: 'category.changed',
      object: { kind: 'category', id },
      scope: { categoryId: id },
      detail: { from: { name: category.name, description: category.description }, to: fields },
    });
  }).catch((error) => {
    throw nameTaken(error, request.name);
  });
  return getCategory(sql, id, unrestricted);
}

/**
 * Deletes a category in which no job is, and the grants on it.
 *
 * @throws {AppError} `not_found`; `conflict` while jobs are in it, and for the category of jobs that name none.
 */
export async function deleteCategory(sql: Sql, id: number, caller: Caller): Promise<void> {
  await inTransaction(sql, async (tx) => {
    const category = await lockCategory(tx, id);
    if (category === undefined) throw notFound('Category');
    const { name, jobCount } = category;
    if (id === generalCategory.id) {
      throw new AppError('conflict', `${name} is where jobs go that name no category: it can’t be deleted.`);
    }
    if (jobCount > 0) {
      const jobs = jobCount === 1 ? '1 job is' : `${jobCount} jobs are`;
      throw new AppError(
        'conflict',
        `${jobs} in ${name}. Move them to another category, then delete this one.`,
      );
    }
    await deleteCategoryRow(tx, id);
    await recordAudit(tx, {
      ...auditedBy(caller),
      action: 'category.deleted',
      object: { kind: 'category', id },
      scope: { categoryId: id },
      detail: { name },
    });
  });
}

function fieldsOf(request: CategoryRequest): { name: string; description: string } {
  return { name: request.name, description: request.description ?? '' };
}

function nameTaken(error: unknown, name: string): unknown {
  if (violatedConstraint(error) !== 'categories_name_key') return error;
  const message = `There is a category named ${name} already; choose another name.`;
  return new AppError('conflict', message, { cause: error, details: [{ path: 'name', message }] });
}
