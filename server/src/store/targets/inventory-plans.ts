import type {
  Adoption,
  Finding,
  GoneTreatment,
  InventoryPlanItem,
  PlanAction,
  PlanCounts,
} from '@opsconductor/protocol';
import type { Reach } from '../../auth/authority.ts';
import type { WantedHost } from '../../inventory/plan-changes.ts';
import type { Queryable, Tx } from '../database/connection.ts';
import { containsPattern, decodeCursor } from '../database/cursor.ts';
import { inventoryPlanWithin } from '../people/visibility.ts';

export interface PlanSummary {
  counts: PlanCounts;
  findings: Finding[];
  findingCount: number;
  newGroups: string[];
  unusedVariables: { name: string; count: number }[];
}

export interface PlanRow {
  id: string;
  inventoryId: number;
  segmentIds: number[];
  adopt: Adoption;
  summary: PlanSummary;
  createdByName: string | null;
  createdAt: Date;
  expiresAt: Date;
  isExpired: boolean;
  appliedAt: Date | null;
  gone: GoneTreatment | null;
}

export interface StoredItem {
  position: number;
  item: InventoryPlanItem;
  wanted: WantedHost | null;
}

const keptPlans = 10;
const lifetimeHours = 24;
const itemsAtATime = 1_000;

/** Stores a plan with its items in their order. Returns its id. */
export async function insertPlan(
  tx: Tx,
  plan: Pick<PlanRow, 'inventoryId' | 'segmentIds' | 'adopt' | 'summary'> & { createdBy: number },
  items: readonly Omit<StoredItem, 'position'>[],
): Promise<string> {
  const { inventoryId, segmentIds, adopt, summary, createdBy } = plan;
  const [row] = await tx<{ id: string }[]>`
    insert into inventory_plans (inventory_id, segment_ids, adopt, summary, created_by, expires_at)
    values (${inventoryId}, ${segmentIds}::bigint[], ${adopt}, ${tx.json(summary as never)}, ${createdBy},
            now() + ${lifetimeHours} * interval '1 hour') returning id`;
  if (row === undefined) throw new Error('insert returned nothing');
  // All of them as one parameter would keep the event loop busy for a second.
  for (let at = 0; at < items.length; at += itemsAtATime) {
    const some = items.slice(at, at + itemsAtATime);
    await tx`
      insert into inventory_plan_items (plan_id, position, action, name, host, item, wanted)
      select ${row.id}, ${at} + x.ordinality, x.data->'item'->>'action', x.data->'item'->>'name',
             x.data->'item'->>'host', x.data->'item', nullif(x.data->'wanted', 'null')
      from jsonb_array_elements(${tx.json(some as never)}) with ordinality x(data, ordinality)`;
  }
  return row.id;
}

/** Deletes all but the newest plans of an inventory. */
export async function deleteOldPlans(tx: Tx, inventoryId: number): Promise<void> {
  await tx`
    delete from inventory_plans where inventory_id = ${inventoryId} and id not in (
      select id from inventory_plans where inventory_id = ${inventoryId} order by created_at desc, id limit ${keptPlans})`;
}

function selectPlans(sql: Queryable, inventoryId: number, reaches: readonly Reach[]) {
  return sql`
    select p.id, p.inventory_id, p.segment_ids, p.adopt, p.summary, u.name as created_by_name, p.created_at,
           p.expires_at, p.expires_at <= now() as is_expired, p.applied_at, p.gone
    from inventory_plans p left join users u on u.id = p.created_by
    where p.inventory_id = ${inventoryId} and ${inventoryPlanWithin(sql, reaches)}`;
}

function selectPlan(sql: Queryable, inventoryId: number, id: string, reaches: readonly Reach[]) {
  return sql`${selectPlans(sql, inventoryId, reaches)} and p.id = ${id}`;
}

/** Returns the plans of an inventory that may be seen, newest first; there are only a few. */
export async function listPlans(
  sql: Queryable,
  inventoryId: number,
  reaches: readonly Reach[],
): Promise<PlanRow[]> {
  return sql<
    PlanRow[]
  >`${selectPlans(sql, inventoryId, reaches)} order by p.created_at desc, p.id limit ${keptPlans}`;
}

/** Returns a plan that may be seen, or `undefined` if there is none. */
export async function findPlan(
  sql: Queryable,
  inventoryId: number,
  id: string,
  reaches: readonly Reach[],
): Promise<PlanRow | undefined> {
  const [row] = await sql<PlanRow[]>`${selectPlan(sql, inventoryId, id, reaches)}`;
  return row;
}

/** Like `findPlan`, but locks the plan, so that it is applied only once. */
export async function lockPlan(
  tx: Tx,
  inventoryId: number,
  id: string,
  reaches: readonly Reach[],
): Promise<PlanRow | undefined> {
  const [row] = await tx<PlanRow[]>`${selectPlan(tx, inventoryId, id, reaches)} for update of p`;
  return row;
}

/** Returns items of a plan in order, one more than `limit` if there are more. */
export async function listPlanItems(
  sql: Queryable,
  planId: string,
  query: {
    limit: number;
    cursor?: string | undefined;
    action?: PlanAction | undefined;
    search?: string | undefined;
  },
): Promise<StoredItem[]> {
  const { limit, cursor, action, search } = query;
  const after = cursor === undefined ? undefined : decodeCursor(cursor, ['number'] as const);
  const pattern = search === undefined || search === '' ? undefined : containsPattern(search);
  return sql<StoredItem[]>`
    select position, item, null as wanted from inventory_plan_items
    where plan_id = ${planId} and position > ${after?.[0] ?? 0}
      and ${action === undefined ? sql`true` : sql`action = ${action}`}
      and ${pattern === undefined ? sql`true` : sql`(name ilike ${pattern} or host ilike ${pattern})`}
    order by position limit ${limit + 1}`;
}

/** Returns all items of a plan, in order. */
export async function readPlanItems(sql: Queryable, planId: string): Promise<StoredItem[]> {
  return sql<StoredItem[]>`
    select position, item, wanted from inventory_plan_items where plan_id = ${planId} order by position`;
}

export async function markApplied(tx: Tx, id: string, gone: GoneTreatment): Promise<void> {
  await tx`update inventory_plans set applied_at = clock_timestamp(), gone = ${gone} where id = ${id}`;
}
