import type {
  CreateInventoryRequest,
  GoneTreatment,
  Inventory,
  InventoryPlan,
  InventoryPlanHead,
  PlanAction,
  PlanInventoryRequest,
  UpdateInventoryRequest,
} from '@opsconductor/protocol';
import { apiPaths } from '../../paths.ts';
import { request } from '../client.ts';
import { type PageQuery, readAll, readWhole } from '../page.ts';

export function readInventories(signal?: AbortSignal): Promise<Inventory[]> {
  return readAll((query) => apiPaths.inventories(query), { signal });
}

export function fetchInventory(id: number, signal?: AbortSignal): Promise<Inventory> {
  return request('GET', apiPaths.inventory(id), { signal });
}

export function createInventory(inventory: CreateInventoryRequest): Promise<Inventory> {
  return request('POST', apiPaths.inventories(), { body: inventory });
}

export function updateInventory(id: number, inventory: UpdateInventoryRequest): Promise<Inventory> {
  return request('PUT', apiPaths.inventory(id), { body: inventory });
}

/** Deletes an inventory. Its targets stay, as if they had been created by hand. */
export function deleteInventory(id: number): Promise<void> {
  return request('DELETE', apiPaths.inventory(id, { targets: 'keep' }));
}

export function planImport(
  id: number,
  plan: PlanInventoryRequest,
  signal?: AbortSignal,
): Promise<InventoryPlan> {
  return request('POST', apiPaths.inventoryPlans(id), { body: plan, harmless: true, signal });
}

/** Returns the newest plans, applied or not; none if the caller may not import. */
export function listPlans(id: number, signal?: AbortSignal): Promise<InventoryPlanHead[]> {
  return readWhole(apiPaths.inventoryPlanHeads(id), signal);
}

export function fetchPlan(
  id: number,
  planId: string,
  query: PageQuery & { action?: PlanAction | undefined; search?: string | undefined },
  signal?: AbortSignal,
): Promise<InventoryPlan> {
  return request('GET', apiPaths.inventoryPlan(id, planId, { ...query }), { signal });
}

export function applyPlan(id: number, planId: string, gone: GoneTreatment): Promise<InventoryPlan> {
  return request('POST', apiPaths.applyPlan(id, planId), { body: { gone } });
}
