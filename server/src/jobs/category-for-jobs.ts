import { generalCategory } from '@opsconductor/protocol';
import { MissingPermission } from '../auth/missing-permission.ts';
import type { Caller } from '../caller.ts';
import { invalidField } from '../errors.ts';
import { holdCategory } from '../store/categories.ts';
import type { Tx } from '../store/connection.ts';

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
  if (!isKnown) throw invalidField('category', 'There is no category of this name.', { found: name });
  throw new MissingPermission(caller, 'jobs.edit', `category “${name}”`);
}
