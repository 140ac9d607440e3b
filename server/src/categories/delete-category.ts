// Deletes a category: alone only while nothing is in it, or with its contents, all at once or not at all.
import { type DeleteCategoryQuery, generalCategory, jobStates, limits } from '@opsconductor/protocol';
import { recordAudit } from '../audit/record-audit.ts';
import { recordAudits } from '../audit/record-audits.ts';
import { MissingPermission } from '../auth/missing-permission.ts';
import { auditedBy, type Caller } from '../caller.ts';
import type { MasterKey } from '../credentials/at-rest/master-key.ts';
import { AppError, invalidField, notFound } from '../errors.ts';
import { bulkChangeWithin } from '../jobs/life/bulk-jobs.ts';
import { recordGoingGrants } from '../people/audit-grants.ts';
import type { Sql, Tx } from '../store/database/connection.ts';
import { inTransaction } from '../store/database/transaction.ts';
import { countFilesIn, moveFiles } from '../store/files/files.ts';
import {
  countDeletedJobs,
  countJobsIn,
  countSubcategories,
  deleteCategory as deleteCategoryRow,
  lockCategoriesFrom,
  lockCategory,
  lockCategoryTree,
  type MovedRow,
  moveDeletedJobs,
} from '../store/jobs/categories.ts';
import { siteRulesOfCategory } from '../store/jobs/site-rules.ts';
import { refuseUnstorableText } from '../validation/storable-text.ts';

interface Deps {
  sql: Sql;
  masterKey: MasterKey;
}
/** Moves whose audit rows are written at once. There may be any number, because runs keep deleted jobs. */
const movesToldAtATime = 500;

type Going = { id: number; name: string };

/**
 * Deletes a category and the grants on it: with `below` also all categories below it; with `moveJobsTo`, all its jobs,
 * including archived ones, first move there.
 * @throws {AppError} `not_found`; `conflict` while something is in it that would not be deleted or moved, for the
 * default category, or with what prevents jobs from moving; `invalid` if the place to move to would be deleted too or
 * does not exist; `forbidden` without `jobs.edit` on jobs or files that would move.
 */
export async function deleteCategory(
  { sql, masterKey }: Deps,
  id: number,
  { below = false, moveJobsTo }: DeleteCategoryQuery,
  caller: Caller,
): Promise<void> {
  refuseUnstorableText({ moveJobsTo }, 'query');
  await inTransaction(sql, async (tx) => {
    await lockCategoryTree(tx);
    const category = await lockCategory(tx, id);
    if (category === undefined) throw notFound('Category');
    const { name } = category;
    if (id === generalCategory.id) {
      throw new AppError('conflict', `${name} is the category of jobs that name none: it can’t be deleted.`);
    }
    if (!below) await refuseCategoriesIn(tx, category, moveJobsTo);
    const going = below ? await lockCategoriesFrom(tx, id) : [category];
    if (moveJobsTo !== undefined)
      await moveJobs(tx, masterKey, going, { from: name, to: moveJobsTo }, caller);
    for (const one of going) {
      await refuseContent(tx, one);
      const grants = await recordGoingGrants(tx, { kind: 'category', id: one.id }, caller);
      await deleteCategoryRow(tx, one.id);
      await recordAudit(tx, {
        ...auditedBy(caller),
        action: 'category.deleted',
        object: { kind: 'category', id: one.id },
        scope: { categoryId: one.id },
        detail: { name: one.name, grants, ...(moveJobsTo === undefined ? {} : { jobsMovedTo: moveJobsTo }) },
      });
    }
  });
}

/**
 * Refuses a category with others below it, even if its jobs are to move: jobs to move are found by the path, which
 * includes those of the categories below.
 */
async function refuseCategoriesIn(
  tx: Tx,
  { id, name }: Going,
  moveJobsTo: string | undefined,
): Promise<void> {
  const below = await countSubcategories(tx, id);
  if (below === 0) return;
  if (moveJobsTo === undefined) await refuseJobs(tx, { id, name });
  const categories = below === 1 ? '1 category lies' : `${below} categories lie`;
  throw new AppError(
    'conflict',
    `${categories} in ${name}. Move or delete what is in it first, or delete it with below=true.`,
  );
}

async function moveJobs(
  tx: Tx,
  masterKey: MasterKey,
  going: readonly Going[],
  { from, to }: { from: string; to: string },
  caller: Caller,
): Promise<void> {
  if (going.some(({ name }) => name === to)) {
    throw invalidField('query.moveJobsTo', 'Would be deleted too; name a category that stays.', {
      found: to,
    });
  }
  const ids = going.map(({ id }) => id);
  if ((await countJobsIn(tx, ids)) > limits.maxJobsPerBulk) {
    throw new AppError(
      'conflict',
      `More than ${limits.maxJobsPerBulk} jobs are in ${from}, which is the most that one request moves. Move some of them first.`,
    );
  }
  const filter = { category: from, state: jobStates.join(',') };
  const note = `Category ${from} was deleted`;
  await bulkChangeWithin(tx, masterKey, { action: 'categorise', category: to, filter, note }, caller);
  const moved = { to, note };
  await requireRest(tx, going, caller);
  await recordMoves(tx, 'job', await moveDeletedJobs(tx, ids, to), { ...moved, isDeleted: true }, caller);
  await recordMoves(tx, 'file', await moveFiles(tx, ids, to), moved, caller);
}

/**
 * What is left are files and deleted jobs, whose runs are kept. To move them gives them to the readers of another
 * category.
 * @throws {MissingPermission} as for jobs.
 */
async function requireRest(tx: Tx, going: readonly Going[], caller: Caller): Promise<void> {
  for (const { id, name } of going) {
    if (caller.authority.holdsOnCategory('jobs.edit', id)) continue;
    if ((await countDeletedJobs(tx, id)) + (await countFilesIn(tx, id)) > 0)
      throw new MissingPermission(caller, 'jobs.edit', `category “${name}”`);
  }
}

/** Readers of both categories should see the move. */
async function recordMoves(
  tx: Tx,
  kind: 'job' | 'file',
  things: readonly MovedRow[],
  more: Record<string, unknown>,
  caller: Caller,
): Promise<void> {
  for (let at = 0; at < things.length; at += movesToldAtATime) {
    const rows = things.slice(at, at + movesToldAtATime).flatMap(({ id, name, fromId, from, toId }) =>
      [fromId, toId].map((categoryId) => ({
        ...auditedBy(caller),
        action: `${kind}.moved`,
        object: { kind, id },
        scope: { categoryId },
        detail: { name, from, ...more, bulk: true },
      })),
    );
    await recordAudits(tx, rows);
  }
}

/** Refuses if something would lose its place. */
async function refuseContent(tx: Tx, category: Going): Promise<void> {
  const { id, name } = category;
  await refuseJobs(tx, category);
  const deleted = await countDeletedJobs(tx, id);
  if (deleted > 0) {
    const jobs = deleted === 1 ? '1 job that was deleted' : `${deleted} jobs that were deleted`;
    throw new AppError(
      'conflict',
      `Runs of ${jobs} from ${name} are kept, and rights on ${name} decide who may see them. Delete it with moveJobsTo, so that another category decides, or keep it.`,
    );
  }
  const files = await countFilesIn(tx, id);
  if (files > 0) {
    const what = files === 1 ? '1 file is' : `${files} files are`;
    throw new AppError(
      'conflict',
      `${what} in ${name}. Delete them first, or delete it with moveJobsTo, which moves them too.`,
    );
  }
  const rules = await siteRulesOfCategory(tx, id);
  if (rules.length === 0) return;
  const told = rules.map((rule) => `“${rule}”`).join(', ');
  throw new AppError('conflict', `Site rules apply to ${name}: ${told}. Change or delete them first.`);
}

async function refuseJobs(tx: Tx, { id, name }: Going): Promise<void> {
  const count = await countJobsIn(tx, [id]);
  if (count === 0) return;
  const jobs = count === 1 ? '1 job is' : `${count} jobs are`;
  throw new AppError(
    'conflict',
    `${jobs} in ${name}. Move them to another category, then delete this one, or delete it with moveJobsTo.`,
  );
}
