// Reads an inventory, compares it with the existing targets, and stores what an import would change.
import type {
  Adoption,
  InventoryPlan,
  InventoryPlanHead,
  InventoryPlanQuerySchema,
  PlanInventoryRequest,
} from '@opsconductor/protocol';
import { limits } from '@opsconductor/protocol';
import type { Static } from 'typebox';
import type { Caller } from '../caller.ts';
import { AppError, invalidField, notFound } from '../errors.ts';
import type { Queryable, Sql, Tx } from '../store/database/connection.ts';
import { pageOf } from '../store/database/cursor.ts';
import { inTransaction } from '../store/database/transaction.ts';
import { findInventory, type InventoryRow, segmentsNamed } from '../store/targets/inventories.ts';
import {
  deleteOldPlans,
  findPlan,
  insertPlan,
  listPlanItems,
  listPlans,
  type PlanRow,
  type PlanSummary,
} from '../store/targets/inventory-plans.ts';
import { groupsNamed, readConcerned } from '../store/targets/inventory-targets.ts';
import { refuseUnstorableText } from '../validation/storable-text.ts';
import { requireItems } from './inventory-rights.ts';
import { countPlan, type PlannedItem, planChanges, type WantedHost } from './plan-changes.ts';
import { readInWorker } from './read-in-worker.ts';
import type { ReadHost, ReadInventory, readInventory } from './read-inventory.ts';
import { maxErrors } from './report.ts';

type Viewer = Pick<Caller, 'authority'>;
type Reader = (...args: Parameters<typeof readInventory>) => Promise<ReadInventory> | ReadInventory;

/**
 * Plans an import of files. Only the plan is stored; nothing else changes.
 * @throws {AppError} `invalid` with all problems of the files, by file and line; `not_found`; `forbidden` if the caller
 * may not edit targets in one of the segments concerned, or target groups if these would change.
 */
export async function planInventory(
  sql: Sql,
  id: number,
  { files, adopt = 'none' }: PlanInventoryRequest,
  caller: Caller,
  read: Reader = readInWorker,
): Promise<InventoryPlan> {
  const inventory = await requireSeen(sql, id, caller);
  if (inventory.format === 'api') {
    throw new AppError(
      'invalid',
      `This inventory takes hosts as JSON: PUT /api/v1/inventories/${id}/targets.`,
    );
  }
  const hosts = await read(inventory.format, files, inventory.options);
  const planId = await planHosts(sql, inventory, hosts, adopt, caller);
  return getPlan(sql, id, planId, {}, caller);
}

/**
 * @throws {AppError} `not_found` for an inventory that the caller does not see, or a plan that concerns segments where
 * they may not edit targets; `invalid` for a malformed cursor.
 */
export async function getPlan(
  sql: Queryable,
  inventoryId: number,
  planId: string,
  query: Static<typeof InventoryPlanQuerySchema>,
  caller: Viewer,
): Promise<InventoryPlan> {
  refuseUnstorableText(query, 'query');
  await requireSeen(sql, inventoryId, caller);
  const plan = await findPlan(sql, inventoryId, planId, caller.authority.reach('targets.edit'));
  if (plan === undefined) throw notFound('Plan');
  const limit = query.limit ?? limits.defaultPageItems;
  const rows = await listPlanItems(sql, planId, { ...query, limit });
  const page = pageOf(
    rows,
    limit,
    (row) => [row.position],
    (row) => row.item,
  );
  return { ...headOf(plan), ...page };
}

/**
 * Returns the newest plans of an inventory, as far as the caller may apply them.
 * @throws {AppError} `not_found` for an inventory that the caller does not see.
 */
export async function listPlanHeads(
  sql: Queryable,
  inventoryId: number,
  caller: Viewer,
): Promise<{ items: InventoryPlanHead[] }> {
  await requireSeen(sql, inventoryId, caller);
  const plans = await listPlans(sql, inventoryId, caller.authority.reach('targets.edit'));
  return {
    items: plans.map((plan) => {
      const { findings: _, newGroups: __, unusedVariables: ___, ...head } = headOf(plan);
      return head;
    }),
  };
}

function headOf({ summary, ...plan }: PlanRow): Omit<InventoryPlan, 'items' | 'nextCursor'> {
  return {
    id: plan.id,
    inventoryId: plan.inventoryId,
    createdAt: plan.createdAt.toISOString(),
    createdBy: plan.createdByName,
    expiresAt: plan.expiresAt.toISOString(),
    appliedAt: plan.appliedAt?.toISOString() ?? null,
    gone: plan.gone,
    ...summary,
  };
}

/** @throws AppError `not_found`, also for an inventory that the caller may not see */
export async function requireSeen(sql: Queryable, id: number, caller: Viewer): Promise<InventoryRow> {
  const inventory = await findInventory(sql, id, caller.authority.reach('read'));
  if (inventory === undefined) throw notFound('Inventory');
  return inventory;
}

/** Compares hosts with targets and stores the result; returns the plan's id. */
export async function planHosts(
  sql: Sql,
  inventory: InventoryRow,
  read: ReadInventory,
  adopt: Adoption,
  caller: Caller,
): Promise<string> {
  refuseErrors(read.errors, read.errorCount);
  return inTransaction(sql, async (tx) => {
    const wanted = await inSegments(tx, inventory, read.hosts, caller);
    const items = await compareWithTargets(tx, inventory.id, adopt, wanted, caller);
    const { segmentId, segmentName } = inventory;
    const own = segmentId === null ? undefined : { id: segmentId, name: segmentName ?? '' };
    const segmentIds = requireItems(caller, items, own);
    const newGroups = await groupsToMake(tx, items);
    const { findings, findingCount, unusedVariables } = read;
    const summary: PlanSummary = {
      counts: countPlan(items),
      findings,
      findingCount,
      newGroups,
      unusedVariables,
    };
    const plan = {
      inventoryId: inventory.id,
      segmentIds,
      adopt,
      summary,
      createdBy: caller.userId,
    };
    const planId = await insertPlan(
      tx,
      plan,
      items.map(({ item, wanted }) => ({ item, wanted })),
    );
    await deleteOldPlans(tx, inventory.id);
    return planId;
  });
}

/** Returns what the wanted hosts mean for the targets as they are now. */
export async function compareWithTargets(
  tx: Tx,
  inventoryId: number,
  adopt: Adoption,
  wanted: readonly WantedHost[],
  caller: Caller,
): Promise<PlannedItem[]> {
  const concerned = concernedBy(inventoryId, wanted);
  const current = await readConcerned(tx, concerned, caller.authority.reach('read'));
  return planChanges(inventoryId, adopt, wanted, current);
}

export function concernedBy(inventoryId: number, wanted: readonly WantedHost[]) {
  return {
    inventoryId,
    segmentIds: wanted.map((host) => host.segmentId),
    names: wanted.map((host) => host.name),
  };
}

/** Returns the names of the target groups that do not exist yet. */
export async function groupsToMake(tx: Tx, items: readonly PlannedItem[]): Promise<string[]> {
  const joined = [...new Set(items.flatMap(({ write }) => write?.join ?? []))];
  const known = new Set((await groupsNamed(tx, joined)).map(({ name }) => name));
  return joined.filter((name) => !known.has(name)).sort();
}

function refuseErrors(errors: ReadInventory['errors'], count: number): void {
  const [first] = errors;
  if (first === undefined) return;
  const details = errors.map(({ file, line, message }) => ({
    path: line === null ? file : `${file}:${line}`,
    message,
  }));
  const [one] = details;
  const told = count === 1 ? `${one?.path}: ${first.message}` : `The inventory has ${count} problems.`;
  const shown = count > errors.length ? ` The first ${errors.length} are listed.` : '';
  throw new AppError('invalid', told + shown, { details });
}

/** Returns the hosts with the segments that they name, or with the inventory's own. */
async function inSegments(
  tx: Tx,
  inventory: InventoryRow,
  hosts: readonly ReadHost[],
  caller: Caller,
): Promise<WantedHost[]> {
  const names = [...new Set(hosts.flatMap((host) => host.segment ?? []))];
  refuseUnstorableText(names, 'segment');
  const ids = inventory.segmentId === null ? [] : [inventory.segmentId];
  const segments = await segmentsNamed(tx, { names, ids }, caller.authority.reach('read'));
  const byName = new Map(segments.map((segment) => [segment.name, segment]));
  const own = segments.find((segment) => segment.id === inventory.segmentId);
  const errors: ReadInventory['errors'] = [];
  let errorCount = 0;
  const wanted = hosts.flatMap(({ segment: name, ...host }): WantedHost[] => {
    const segment = name === undefined ? own : byName.get(name);
    if (segment !== undefined) return [{ ...host, segmentId: segment.id, segmentName: segment.name }];
    const message =
      name === undefined
        ? 'The host names no segment, and the inventory has none.'
        : `There is no segment “${name}”.`;
    errorCount += 1;
    if (errors.length < maxErrors) errors.push({ file: host.file ?? '', line: host.line, message });
    return [];
  });
  refuseErrors(errors, errorCount);
  return wanted;
}

/** @throws {AppError} `invalid` for an inventory that does not have the format `api`. */
export function requireApiFormat(inventory: InventoryRow): void {
  if (inventory.format === 'api') return;
  const message = `This inventory is read from files: POST /api/v1/inventories/${inventory.id}/plan.`;
  throw invalidField('hosts', message);
}
