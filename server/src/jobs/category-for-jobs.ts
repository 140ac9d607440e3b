import { generalCategory } from '@opsconductor/protocol';
import { MissingPermission } from '../auth/missing-permission.ts';
import type { Caller } from '../caller.ts';
import { noSuchCategory } from '../categories/no-such-category.ts';
import { invalidField } from '../errors.ts';
import type { Tx } from '../store/database/connection.ts';
import { holdCategory } from '../store/jobs/categories.ts';

/**
 * The category into which the caller puts a job, held until the transaction ends.
 *
 * @throws {AppError} `invalid` for a category that is not there or of which they may know nothing; `forbidden` where
 * they may not edit jobs.
 */
export async function categoryForJobs(
  tx: Tx,
  name: string = generalCategory.name,
  caller: Caller,
): Promise<{ id: number; name: string }> {
  const category = await holdCategory(tx, name);
  if (category !== undefined && caller.authority.holdsOnCategory('jobs.edit', category.id)) return category;
  const isKnown =
    category !== undefined &&
    (category.id === generalCategory.id || caller.authority.holdsOnCategory('read', category.id));
  if (!isKnown) {
    const { path, message, found } = noSuchCategory(name);
    throw invalidField(path, message, { found });
  }
  throw new MissingPermission(caller, 'jobs.edit', `category “${name}”`);
}
