// Applies a plan: all of it in one transaction, or nothing. The plan is made again from the current targets, and
// refused if the result differs from what was shown.
import type { ApplyPlanRequestSchema, InventoryPlan } from '@opsconductor/protocol';
import type { Static } from 'typebox';
import { recordAudit } from '../audit/record-audit.ts';
import { auditedBy, type Caller } from '../caller.ts';
import { AppError, notFound } from '../errors.ts';
import { type Sql, type Tx, violatedConstraint } from '../store/database/connection.ts';
import { inTransaction } from '../store/database/transaction.ts';
import { lockInventory, noteApplied } from '../store/targets/inventories.ts';
import {
  lockPlan,
  markApplied,
  type PlanRow,
  readPlanItems,
  type StoredItem,
} from '../store/targets/inventory-plans.ts';
import {
  lockConcerned,
  lockTargetsAgainstRuns,
  targetsInOpenRuns,
} from '../store/targets/inventory-targets.ts';
import { lockMembership } from '../store/targets/target-group-members.ts';
import { requireItems } from './inventory-rights.ts';
import { compareWithTargets, concernedBy, getPlan, groupsToMake, requireSeen } from './make-plan.ts';
import type { PlannedItem } from './plan-changes.ts';
import { writePlan } from './write-plan.ts';

const maxNamed = 20;

/**
 * Applies a plan once.
 * @throws {AppError} `not_found`; `forbidden`; `conflict` for a plan that was applied, has expired, has conflicts, or
 * no longer fits the current targets (with what changed), and for gone targets in open runs that would be deleted.
 */
export async function applyPlan(
  sql: Sql,
  inventoryId: number,
  planId: string,
  { gone }: Static<typeof ApplyPlanRequestSchema>,
  caller: Caller,
): Promise<InventoryPlan> {
  return inTransaction(sql, async (tx) => {
    await lockMembership(tx);
    await lockInventory(tx, inventoryId);
    const inventory = await requireSeen(tx, inventoryId, caller);
    const plan = await lockPlan(tx, inventoryId, planId, caller.authority.reach('targets.edit'));
    if (plan === undefined) throw notFound('Plan');
    refuseUnfit(plan);
    const stored = await readPlanItems(tx, planId);
    const items = await planAgain(tx, plan, stored, caller);
    refuseChanged(stored, items, plan.summary.newGroups, await groupsToMake(tx, items));
    if (gone === 'delete') await refuseInOpenRuns(tx, items);
    const forgotten = await writePlan(
      tx,
      { inventory, items, newGroups: plan.summary.newGroups, gone },
      caller,
    );
    await noteApplied(tx, inventoryId);
    await markApplied(tx, planId, gone);
    await recordAudit(tx, {
      ...auditedBy(caller),
      action: 'inventory.applied',
      object: { kind: 'inventory', id: inventoryId },
      detail: {
        ...plan.summary.counts,
        forgottenHostKeys: forgotten,
        name: inventory.name,
        plan: planId,
        goneTargets: gone,
      },
      ...(inventory.segmentId === null ? {} : { scope: { segmentId: inventory.segmentId } }),
    });
    // Later it may be gone: an inventory keeps only its newest plans.
    return getPlan(tx, inventoryId, planId, {}, caller);
  }).catch((error) => {
    if (violatedConstraint(error) !== 'targets_segment_id_name_key') throw error;
    const message = 'A target took one of the names meanwhile; plan the import again.';
    throw new AppError('conflict', message, { cause: error });
  });
}

function refuseUnfit({ appliedAt, isExpired, summary }: PlanRow): void {
  if (appliedAt !== null) {
    throw new AppError(
      'conflict',
      `This plan was applied at ${appliedAt.toISOString()}; plan the import again.`,
    );
  }
  if (isExpired) throw new AppError('conflict', 'This plan has expired; plan the import again.');
  const { conflict } = summary.counts;
  if (conflict > 0) {
    const hosts = conflict === 1 ? 'one host is' : `${conflict} hosts are`;
    throw new AppError(
      'conflict',
      `In this plan, ${hosts} in conflict with existing targets. Resolve that, and plan again.`,
    );
  }
}

async function planAgain(
  tx: Tx,
  plan: PlanRow,
  stored: readonly StoredItem[],
  caller: Caller,
): Promise<PlannedItem[]> {
  const wanted = stored.flatMap((one) => one.wanted ?? []);
  await lockConcerned(tx, concernedBy(plan.inventoryId, wanted));
  const items = await compareWithTargets(tx, plan.inventoryId, plan.adopt, wanted, caller);
  requireItems(caller, items);
  return items;
}

/** @throws {AppError} `conflict`, with what would be done now, if something else was shown. */
function refuseChanged(
  stored: readonly StoredItem[],
  items: readonly PlannedItem[],
  groups: readonly string[],
  groupsNow: readonly string[],
): void {
  const shown = new Map(stored.map(({ item }) => [keyOf(item), item]));
  const details: { path: string; message: string }[] = [];
  for (const { item } of items) {
    const before = shown.get(keyOf(item));
    shown.delete(keyOf(item));
    if (before !== undefined && comparable(before) === comparable(item)) continue;
    details.push({ path: pathOf(item), message: `${describe(before)}; now ${describe(item)}.` });
  }
  for (const item of shown.values()) {
    details.push({ path: pathOf(item), message: `${describe(item)}; now nothing would be done.` });
  }
  if (groups.join('\n') !== groupsNow.join('\n')) {
    details.push({ path: 'target groups', message: 'Other target groups exist than when it was planned.' });
  }
  const [first] = details;
  if (first === undefined) return;
  const count = details.length === 1 ? 'One thing has' : `${details.length} things have`;
  throw new AppError('conflict', `${count} changed since this was planned; plan the import again.`, {
    details: details.slice(0, maxNamed),
  });
}

type Item = StoredItem['item'];
const keyOf = (item: Item) =>
  `${item.segmentId}\0${item.action === 'gone' ? `gone ${item.targetId}` : item.name}`;
const pathOf = (item: Item) => `${item.segmentName}: ${item.name}`;

function comparable({
  action,
  name,
  host,
  targetId,
  changes,
  adoptedFrom,
  forgottenHostKeys,
  conflict,
}: Item): string {
  const fields = changes.map(({ field, from, to }) => [field, from, to]);
  return JSON.stringify([
    action,
    name,
    host,
    targetId,
    fields,
    adoptedFrom,
    forgottenHostKeys,
    conflict?.reason,
  ]);
}

function describe(item: Item | undefined): string {
  if (item === undefined) return 'It was not part of the plan';
  const was: Record<Item['action'], string> = {
    create: 'to be created',
    update: `to be changed (${item.changes.map((change) => change.field).join(', ') || 'adopted'})`,
    unchanged: 'unchanged',
    gone: 'gone',
    conflict: `in conflict (${item.conflict?.reason ?? ''})`,
  };
  const keys = item.forgottenHostKeys > 0 ? `, forgetting ${item.forgottenHostKeys} host keys` : '';
  return `It is ${was[item.action]}${keys}`;
}

async function refuseInOpenRuns(tx: Tx, items: readonly PlannedItem[]): Promise<void> {
  const ids = items.flatMap(({ item }) =>
    item.action === 'gone' && item.targetId !== null ? [item.targetId] : [],
  );
  await lockTargetsAgainstRuns(tx, ids);
  const used = await targetsInOpenRuns(tx, ids, maxNamed);
  const [first] = used;
  if (first === undefined) return;
  const details = used.map(({ name, runId }) => ({
    path: name,
    message: `Run ${runId} still has work on it.`,
  }));
  throw new AppError(
    'conflict',
    `Run ${first.runId} still has work on ${first.name}, which is to be deleted. Wait for its end or cancel it, or deactivate gone targets instead.`,
    { details },
  );
}
