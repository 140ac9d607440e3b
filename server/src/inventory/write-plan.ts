// Writes the changes of a plan: gone targets first, so that their names are free; then changes, new targets and groups.
import type { FieldChange, GoneTreatment } from '@opsconductor/protocol';
import { recordAudit } from '../audit/record-audit.ts';
import { recordAudits } from '../audit/record-audits.ts';
import { auditedBy, type Caller } from '../caller.ts';
import type { Tx } from '../store/database/connection.ts';
import type { InventoryRow } from '../store/targets/inventories.ts';
import {
  forgetHostKeysOf,
  groupsNamed,
  insertImported,
  noteGone,
  readInherited,
  updateImported,
} from '../store/targets/inventory-targets.ts';
import { forgetContacts } from '../store/targets/target-contacts.ts';
import { insertTargetGroup, putEntries, removeEntries } from '../store/targets/target-groups.ts';
import { deleteTargets } from '../store/targets/targets.ts';
import { refreshMembersOfGroup, refreshMembersOfTargets } from '../target-groups/refresh-members.ts';
import { type CurrentTarget, type PlannedItem, portOf, type Write } from './plan-changes.ts';

export interface PlanToWrite {
  inventory: InventoryRow;
  items: readonly PlannedItem[];
  newGroups: readonly string[];
  gone: GoneTreatment;
}

interface Written {
  id: number;
  write: Write;
  target: CurrentTarget | null;
  changes: FieldChange[];
  adoptedFrom: string | null;
}

/**
 * Writes the items of a plan. The caller must hold locks on its targets and their memberships. Returns for how many
 * targets accepted host keys were forgotten.
 * @throws {MissingPermission} if a target would join a group on which others have rights that the caller lacks.
 */
export async function writePlan(tx: Tx, plan: PlanToWrite, caller: Caller): Promise<number> {
  await writeGone(tx, plan, caller);
  const written = await writeTargets(tx, plan);
  const ids = written.map((one) => one.id);
  await refreshMembersOfTargets(tx, ids, caller);
  await makeGroups(tx, plan, caller);
  await writeEntries(tx, written, caller);
  const forgotten = await forgetHostKeys(tx, written);
  await recordAudits(
    tx,
    written
      .filter((one) => one.target === null || one.changes.length > 0 || one.adoptedFrom !== null)
      .map((one) => ({
        ...auditedBy(caller),
        action: one.target === null ? 'target.created' : 'target.changed',
        object: { kind: 'target', id: one.id },
        detail: {
          inventory: plan.inventory.name,
          name: one.write.state.name,
          changes: one.changes,
          ...(one.adoptedFrom === null ? {} : { adoptedFrom: one.adoptedFrom }),
          ...(one.target === null ? {} : { forgottenHostKeys: forgotten.get(one.id) ?? [] }),
        },
        scope: { segmentId: one.write.segmentId },
      })),
  );
  return forgotten.size;
}

async function writeGone(tx: Tx, { inventory, items, gone }: PlanToWrite, caller: Caller): Promise<void> {
  const targets = items.flatMap(({ item, target }) =>
    item.action === 'gone' && target !== null ? [target] : [],
  );
  const ids = targets.map((target) => target.id);
  if (gone === 'delete') await deleteTargets(tx, ids);
  else await noteGone(tx, ids, gone === 'deactivate');
  const changed = gone === 'keep' ? [] : targets.filter((target) => gone === 'delete' || target.isActive);
  await recordAudits(
    tx,
    changed.map(({ id, name, host, port, segmentName, segmentId }) => ({
      ...auditedBy(caller),
      action: gone === 'delete' ? 'target.deleted' : 'target.changed',
      object: { kind: 'target', id },
      detail: {
        inventory: inventory.name,
        name,
        ...(gone === 'delete'
          ? { host, port, segment: segmentName }
          : { changes: [{ field: 'isActive', from: true, to: false }] }),
      },
      scope: { segmentId },
    })),
  );
}

async function writeTargets(tx: Tx, { inventory, items }: PlanToWrite): Promise<Written[]> {
  const toWrite = items.flatMap(({ item, target, write }) =>
    write === undefined ? [] : [{ write, target, changes: item.changes, adoptedFrom: item.adoptedFrom }],
  );
  const updates = toWrite.flatMap((one) => (one.target === null ? [] : [{ ...one, id: one.target.id }]));
  await updateImported(
    tx,
    inventory.id,
    updates.map(({ id, target, write }) => ({ id, isRenamed: target?.name !== write.state.name, write })),
  );
  const creates = toWrite.filter((one) => one.target === null);
  const ids = await insertImported(
    tx,
    inventory.id,
    creates.map((one) => one.write),
  );
  return [...updates, ...creates.map((one, at) => ({ ...one, id: ids[at] ?? 0 }))];
}

async function makeGroups(tx: Tx, { inventory, newGroups }: PlanToWrite, caller: Caller): Promise<void> {
  for (const name of newGroups) {
    const description = `From the inventory ${inventory.name}`;
    const fields = { name, description, selector: null, priority: 0, settings: {} };
    const id = await insertTargetGroup(tx, { ...fields, createdBy: caller.userId });
    await recordAudit(tx, {
      ...auditedBy(caller),
      action: 'target_group.created',
      object: { kind: 'target_group', id },
      detail: { ...fields, inventory: inventory.name },
    });
  }
}

async function writeEntries(tx: Tx, written: readonly Written[], caller: Caller): Promise<void> {
  const changes = new Map<string, { join: number[]; leave: number[] }>();
  for (const { id, write } of written) {
    for (const kind of ['join', 'leave'] as const) {
      for (const name of write[kind]) {
        const change = changes.get(name) ?? { join: [], leave: [] };
        change[kind].push(id);
        changes.set(name, change);
      }
    }
  }
  for (const group of await groupsNamed(tx, [...changes.keys()])) {
    const { join, leave } = changes.get(group.name) ?? { join: [], leave: [] };
    if (join.length > 0) await putEntries(tx, group.id, join, false);
    if (leave.length > 0) await removeEntries(tx, group.id, { targetIds: leave, excluded: false });
    await refreshMembersOfGroup(tx, group, caller, [...join, ...leave]);
  }
}

/**
 * Forgets the keys and the health of targets whose host or port changed, even if the port comes from a group that they
 * joined.
 */
async function forgetHostKeys(tx: Tx, written: readonly Written[]): Promise<Map<number, string[]>> {
  const kept = written.flatMap((one) => (one.target === null ? [] : [{ ...one, target: one.target }]));
  const inherited = await readInherited(
    tx,
    kept.map((one) => one.id),
  );
  const others = kept.filter(
    ({ id, target, write }) =>
      target.host.toLowerCase() !== write.state.host.toLowerCase() ||
      portOf(target.inherited, target) !== portOf(inherited.get(id) ?? {}, write.state),
  );
  const ids = others.map((one) => one.id);
  await forgetContacts(tx, ids);
  return forgetHostKeysOf(tx, ids);
}
