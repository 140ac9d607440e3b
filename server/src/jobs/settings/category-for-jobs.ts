import { generalCategory } from '@opsconductor/protocol';
import { MissingPermission } from '../../auth/missing-permission.ts';
import type { Caller } from '../../caller.ts';
import { noSuchCategory } from '../../categories/no-such-category.ts';
import { invalidField } from '../../errors.ts';
import type { Tx } from '../../store/database/connection.ts';
import { holdCategory } from '../../store/jobs/categories.ts';

/**
 * Returns the category into which the caller puts a job, locked until the transaction ends.
 * @throws {AppError} `invalid` for a category that does not exist or that they may not see; `forbidden` if they may not
 * edit jobs in it.
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
