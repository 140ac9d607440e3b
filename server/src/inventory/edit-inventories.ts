import {
  type CreateInventoryRequest,
  type Inventory,
  limits,
  type UpdateInventoryRequest,
} from '@opsconductor/protocol';
import { recordAudit } from '../audit/record-audit.ts';
import type { Reach } from '../auth/authority.ts';
import { auditedBy, type Caller } from '../caller.ts';
import { refuseChanged } from '../conflicts/refuse-changed.ts';
import { AppError, invalidField, notFound } from '../errors.ts';
import { type Queryable, type Sql, type Tx, violatedConstraint } from '../store/database/connection.ts';
import { pageOf } from '../store/database/cursor.ts';
import { inTransaction } from '../store/database/transaction.ts';
import {
  deleteInventory as deleteRow,
  findInventory,
  hasTargets,
  type InventoryRow,
  insertInventory,
  listInventories as listRows,
  lockInventory,
  segmentsNamed,
  updateInventory as updateRow,
} from '../store/targets/inventories.ts';
import { requireInventory } from './inventory-rights.ts';

/** Returns a page of the inventories in these reaches, by name. */
export async function listInventories(
  sql: Queryable,
  query: { limit?: number; cursor?: string },
  reaches: readonly Reach[],
): Promise<{ items: Inventory[]; nextCursor: string | null }> {
  const limit = query.limit ?? limits.defaultPageItems;
  const rows = await listRows(sql, { ...query, limit }, reaches);
  return pageOf(rows, limit, (row) => [row.name, row.id], toInventory);
}

/** @throws {AppError} `not_found` for an inventory outside these reaches. */
export async function getInventory(
  sql: Queryable,
  id: number,
  reaches: readonly Reach[],
): Promise<Inventory> {
  return toInventory(await requireFound(sql, id, reaches));
}

/**
 * Creates an inventory, from which nothing is imported yet.
 * @throws {AppError} `invalid` for a segment that the caller does not see; `conflict` for a taken name; `forbidden` if
 * the caller may not edit targets in the segment, or everywhere if it has none.
 */
export async function createInventory(
  sql: Sql,
  request: CreateInventoryRequest,
  caller: Caller,
): Promise<Inventory> {
  const id = await inTransaction(sql, async (tx) => {
    const segment = await segmentOf(tx, request.segmentId ?? null, caller);
    requireInventory(caller, segment);
    const { name, format, options = {} } = request;
    const fields = { name, segmentId: segment?.id ?? null, options };
    const id = await insertInventory(tx, { ...fields, format, createdBy: caller.userId });
    await recordAudit(tx, {
      ...auditedBy(caller),
      action: 'inventory.created',
      object: { kind: 'inventory', id },
      detail: { name, format, segment: segment?.name ?? null, options },
      ...(segment === null ? {} : { scope: { segmentId: segment.id } }),
    });
    return id;
  }).catch((error) => {
    throw nameTaken(error, request.name);
  });
  return getInventory(sql, id, caller.authority.reach('read'));
}

/**
 * Changes an inventory; what the request leaves out stays unchanged. Its targets change with the next plan that is
 * applied.
 * @throws {AppError} `not_found`; `conflict` if a field does not have the value that the request expects; and like
 * `createInventory`, for the segments before and after.
 */
export async function updateInventory(
  sql: Sql,
  id: number,
  request: UpdateInventoryRequest,
  caller: Caller,
): Promise<Inventory> {
  await inTransaction(sql, async (tx) => {
    await lockInventory(tx, id);
    const before = await requireFound(tx, id, caller.authority.reach('read'));
    requireInventory(caller, segmentOfRow(before));
    const segmentId = request.segmentId === undefined ? before.segmentId : request.segmentId;
    const segment = await segmentOf(tx, segmentId, caller);
    requireInventory(caller, segment);
    const from = { name: before.name, segmentId: before.segmentId, options: before.options };
    refuseChanged(`Inventory ${before.name}`, from, request.expected);
    const to = { name: request.name ?? before.name, segmentId, options: request.options ?? before.options };
    await updateRow(tx, id, to);
    const entry = {
      ...auditedBy(caller),
      action: 'inventory.changed',
      object: { kind: 'inventory', id },
      detail: { from, to },
    };
    // Readers of both segments should see the change.
    const segments = [...new Set([before.segmentId, segmentId])].filter((one) => one !== null);
    for (const segmentId of segments) await recordAudit(tx, { ...entry, scope: { segmentId } });
    if (segments.length === 0) await recordAudit(tx, entry);
  }).catch((error) => {
    throw nameTaken(error, request.name);
  });
  return getInventory(sql, id, caller.authority.reach('read'));
}

/**
 * Deletes an inventory and its plans; with `targets: 'keep'` even one that has targets, which then stay as if they had
 * been created by hand.
 * @throws {AppError} `not_found`; `forbidden` if the caller may not edit targets in its segment; `conflict` for one
 * that has targets, without that choice.
 */
export async function deleteInventory(
  sql: Sql,
  id: number,
  choice: { targets?: 'keep' },
  caller: Caller,
): Promise<void> {
  await inTransaction(sql, async (tx) => {
    await lockInventory(tx, id);
    const inventory = await requireFound(tx, id, caller.authority.reach('read'));
    requireInventory(caller, segmentOfRow(inventory));
    if (choice.targets !== 'keep' && (await hasTargets(tx, id))) {
      const message =
        'The inventory has targets. Delete it with targets=keep to leave them as if created by hand, or apply a plan of an empty inventory first.';
      throw new AppError('conflict', message);
    }
    const targets = await deleteRow(tx, id);
    await recordAudit(tx, {
      ...auditedBy(caller),
      action: 'inventory.deleted',
      object: { kind: 'inventory', id },
      detail: { name: inventory.name, targets },
      ...(inventory.segmentId === null ? {} : { scope: { segmentId: inventory.segmentId } }),
    });
  });
}

async function requireFound(sql: Queryable, id: number, reaches: readonly Reach[]): Promise<InventoryRow> {
  const row = await findInventory(sql, id, reaches);
  if (row === undefined) throw notFound('Inventory');
  return row;
}

function segmentOfRow({ segmentId, segmentName }: InventoryRow): { id: number; name: string } | null {
  return segmentId === null ? null : { id: segmentId, name: segmentName ?? '' };
}

async function segmentOf(
  tx: Tx,
  id: number | null,
  caller: Caller,
): Promise<{ id: number; name: string } | null> {
  if (id === null) return null;
  const [segment] = await segmentsNamed(tx, { names: [], ids: [id] }, caller.authority.reach('read'));
  if (segment === undefined) throw invalidField('segmentId', `There is no segment ${id}.`);
  return segment;
}

function toInventory(row: InventoryRow): Inventory {
  return {
    ...row,
    createdAt: row.createdAt.toISOString(),
    lastAppliedAt: row.lastAppliedAt?.toISOString() ?? null,
  };
}

function nameTaken(error: unknown, name: string | undefined): unknown {
  if (violatedConstraint(error) !== 'inventories_name_key') return error;
  const message = `There is an inventory named ${name} already; choose another name.`;
  return new AppError('conflict', message, { cause: error, details: [{ path: 'name', message }] });
}
