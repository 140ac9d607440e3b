// Inventories of programs: all hosts at once as JSON, through the same kind of plan.
import type { InventoryPlan, PutInventoryTargetsRequest } from '@opsconductor/protocol';
import type { Caller } from '../caller.ts';
import type { Sql } from '../store/database/connection.ts';
import { applyPlan } from './apply-plan.ts';
import { getPlan, planHosts, requireApiFormat, requireSeen } from './make-plan.ts';
import { checkHosts } from './read-inventory.ts';

/**
 * Plans an import of these hosts and, if requested, applies it.
 * @throws {AppError} like `planInventory` and `applyPlan`.
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
  if (apply !== undefined) return applyPlan(sql, id, planId, apply, caller);
  return getPlan(sql, id, planId, {}, caller);
}
