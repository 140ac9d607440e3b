// Inventories of programs: all hosts at once as JSON, through the same kind of plan.
import type { InventoryPlan, PutInventoryTargetsRequest } from '@opsconductor/protocol';
import type { Caller } from '../caller.ts';
import { AppError } from '../errors.ts';
import type { Sql } from '../store/database/connection.ts';
import { applyPlan } from './apply-plan.ts';
import { getPlan, planHosts, requireApiFormat, requireSeen } from './make-plan.ts';
import { checkHosts } from './read-inventory.ts';

/**
 * Plans an import of these hosts and, if requested, applies it.
 * @throws {AppError} like `planInventory` and `applyPlan`; `conflict` if others made so many plans meanwhile that this one
 * is no longer kept.
 */
export async function putHosts(
  sql: Sql,
  id: number,
  { hosts, adopt = 'none', apply }: PutInventoryTargetsRequest,
  caller: Caller,
): Promise<InventoryPlan> {
  const inventory = await requireSeen(sql, id, caller);
  requireApiFormat(inventory);
  const read = await checkHosts(hosts, inventory.options);
  const planId = await planHosts(sql, inventory, read, adopt, caller);
  try {
    if (apply !== undefined) return await applyPlan(sql, id, planId, apply, caller);
    return await getPlan(sql, id, planId, {}, caller);
  } catch (error) {
    if (!(error instanceof AppError) || error.code !== 'not_found') throw error;
    await requireSeen(sql, id, caller);
    // An inventory keeps only its newest plans. The caller knows nothing of this one, so that it can't be missed.
    const message = 'Others have put hosts into this inventory at the same moment; send yours again.';
    throw new AppError('conflict', message, { cause: error });
  }
}
