import type { InventoryFormat, InventoryOptions } from '@opsconductor/protocol';
import type { Reach } from '../../auth/authority.ts';
import type { Queryable, Tx } from '../database/connection.ts';
import { decodeCursor } from '../database/cursor.ts';
import { inventoryWithin, segmentWithin, targetWithin } from '../people/visibility.ts';

export interface InventoryRow {
  id: number;
  name: string;
  format: InventoryFormat;
  segmentId: number | null;
  segmentName: string | null;
  options: InventoryOptions;
  targetCount: number;
  createdAt: Date;
  lastAppliedAt: Date | null;
}

export interface InventoryFields {
  name: string;
  segmentId: number | null;
  options: InventoryOptions;
}

export async function insertInventory(
  tx: Tx,
  inventory: InventoryFields & { format: InventoryFormat; createdBy: number },
): Promise<number> {
  const { name, format, segmentId, options, createdBy } = inventory;
  const [row] = await tx<{ id: number }[]>`
    insert into inventories (name, format, segment_id, options, created_by)
    values (${name}, ${format}, ${segmentId}, ${tx.json(options)}, ${createdBy}) returning id`;
  if (row === undefined) throw new Error('insert returned nothing');
  return row.id;
}

export async function updateInventory(tx: Tx, id: number, inventory: InventoryFields): Promise<void> {
  const { name, segmentId, options } = inventory;
  await tx`update inventories set name = ${name}, segment_id = ${segmentId}, options = ${tx.json(options)}
           where id = ${id}`;
}

/** Whether any target came from this inventory. */
export async function hasTargets(sql: Queryable, id: number): Promise<boolean> {
  return (await sql`select 1 from targets where inventory_id = ${id} limit 1`).length > 0;
}

/** Deletes an inventory. Its targets stay, as if they had been made by hand. Returns how many there are. */
export async function deleteInventory(tx: Tx, id: number): Promise<number> {
  const { count } = await tx`
    update targets set inventory_id = null, inventory_key = null, inventory_values = null, inventory_gone_at = null
    where inventory_id = ${id}`;
  await tx`delete from inventories where id = ${id}`;
  return count;
}

/** Returns an inventory that may be seen, by id, or `undefined` if there is none. */
export async function findInventory(
  sql: Queryable,
  id: number,
  reaches: readonly Reach[],
): Promise<InventoryRow | undefined> {
  const [row] = await sql<InventoryRow[]>`
    select i.id, i.name, i.format, i.segment_id, s.name as segment_name, i.options, i.created_at, i.last_applied_at,
           (select count(*)::int from targets t where t.inventory_id = i.id and ${targetWithin(sql, reaches)})
             as target_count
    from inventories i left join segments s on s.id = i.segment_id
    where i.id = ${id} and ${inventoryWithin(sql, reaches)}`;
  return row;
}

/** Locks an inventory's row. Everyone who changes it, or its targets by an import, holds this lock. */
export async function lockInventory(tx: Tx, id: number): Promise<void> {
  await tx`select 1 from inventories where id = ${id} for update`;
}

/** Returns inventories that may be seen, by name, one more than `limit` if there are more. */
export async function listInventories(
  sql: Queryable,
  { limit, cursor }: { limit: number; cursor?: string | undefined },
  reaches: readonly Reach[],
): Promise<InventoryRow[]> {
  const after = cursor === undefined ? undefined : decodeCursor(cursor, ['string', 'number'] as const);
  return sql<InventoryRow[]>`
    select i.id, i.name, i.format, i.segment_id, s.name as segment_name, i.options, i.created_at, i.last_applied_at,
           (select count(*)::int from targets t where t.inventory_id = i.id and ${targetWithin(sql, reaches)})
             as target_count
    from inventories i left join segments s on s.id = i.segment_id
    where ${inventoryWithin(sql, reaches)}
      and ${after === undefined ? sql`true` : sql`(i.name, i.id) > (${after[0]}, ${after[1]})`}
    order by i.name, i.id limit ${limit + 1}`;
}

export async function noteApplied(tx: Tx, id: number): Promise<void> {
  await tx`update inventories set last_applied_at = clock_timestamp() where id = ${id}`;
}

/** Returns those segments with these names or ids that may be seen. */
export async function segmentsNamed(
  sql: Queryable,
  { names, ids }: { names: readonly string[]; ids: readonly number[] },
  reaches: readonly Reach[],
): Promise<{ id: number; name: string }[]> {
  return sql<{ id: number; name: string }[]>`
    select s.id, s.name from segments s
    where (s.name = any(${names as string[]}::text[]) or s.id = any(${ids as number[]}::bigint[]))
      and ${segmentWithin(sql, reaches)}
    order by s.name`;
}
