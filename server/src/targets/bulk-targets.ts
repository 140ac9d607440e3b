// Makes one change to many targets: to all that are selected, or to none.
import type { BulkTargetReply, BulkTargetRequest } from '@opsconductor/protocol';
import { limits } from '@opsconductor/protocol';
import { recordAudit } from '../audit/record-audit.ts';
import { recordAudits } from '../audit/record-audits.ts';
import { MissingPermission } from '../auth/missing-permission.ts';
import { auditedBy, type Caller } from '../caller.ts';
import { AppError, invalidField, notFound } from '../errors.ts';
import type { Sql, Tx } from '../store/database/connection.ts';
import { inTransaction } from '../store/database/transaction.ts';
import {
  type BulkChange,
  type BulkTarget,
  changedByBulk,
  changeTargets,
  selectToChange,
} from '../store/targets/target-bulk.ts';
import { forgetContactsWith } from '../store/targets/target-contacts.ts';
import { lockMembership } from '../store/targets/target-group-members.ts';
import {
  findTargetGroup,
  putEntries,
  removeEntries,
  type TargetGroupRow,
} from '../store/targets/target-groups.ts';
import { selectedBySelector } from '../store/targets/target-selection.ts';
import { deleteTargets, segmentsOfTargets, targetsOutside } from '../store/targets/targets.ts';
import { refreshMembersOfGroup, refreshMembersOfTargets } from '../target-groups/refresh-members.ts';
import { refuseInUse, requireCredential } from './edit-targets.ts';
import { readSelection, refuseTooMany, requireFound } from './selection/read-selection.ts';

const maxNamed = 20;
const changes = [
  'setLabels',
  'unsetLabels',
  'addToGroupId',
  'removeFromGroupId',
  'isActive',
  'credentialId',
  'delete',
] as const;

/**
 * Changes all selected targets. Unlike a run, a change includes inactive ones.
 * @throws {AppError} `invalid` for no change or changes that exclude each other; `not_found` for ids and groups that
 * the caller does not see; `forbidden` if one of the targets may not be edited; `conflict` if a target to be deleted is
 * used by an open run.
 */
export async function bulkChangeTargets(
  sql: Sql,
  request: BulkTargetRequest,
  caller: Caller,
): Promise<BulkTargetReply> {
  refuseContradictions(request);
  const isDryRun = request.dryRun === true;
  return inTransaction(sql, async (tx) => {
    await lockMembership(tx);
    const read = caller.authority.reach('read');
    const { query } = await readSelection(tx, request.selection, read, 'selection.');
    const selected = await selectToChange(tx, query, read, {
      limit: limits.maxTargetsPerRun + 1,
      againstRuns: request.delete === true && !isDryRun,
    });
    refuseTooMany(selected.length);
    const ids = selected.map((target) => target.id);
    requireFound(request.selection, ids, 'selection.');
    await refuseForbidden(tx, request, ids, caller);
    await refuseCredential(tx, request.credentialId, ids, caller);
    const groups = await groupsOf(tx, request, caller);
    const changed = await changedBy(tx, request, ids, groups);
    if (!isDryRun && changed.length > 0) {
      await apply(tx, request, changed, groups, caller);
      await audit(tx, request, selected, changed, caller);
    }
    const names = new Map(selected.map((target) => [target.id, target.name]));
    const targets = changed.slice(0, maxNamed).map((id) => names.get(id) ?? '');
    return { selected: selected.length, changed: changed.length, dryRun: isDryRun, targets };
  });
}

interface Groups {
  add: TargetGroupRow | undefined;
  remove: TargetGroupRow | undefined;
}

function refuseContradictions(request: BulkTargetRequest): void {
  const given = changes.filter((name) => request[name] !== undefined);
  if (given.length === 0) {
    throw new AppError('invalid', `Nothing to change: give one of ${changes.join(', ')}.`);
  }
  if (request.delete === true && given.length > 1) {
    throw invalidField('delete', 'Deleted targets can’t also be changed; ask for one of the two.');
  }
  const both = request.unsetLabels?.find((name) => Object.hasOwn(request.setLabels ?? {}, name));
  if (both !== undefined)
    throw invalidField('unsetLabels', `Label ${both} is both to be set and to be unset; choose one.`);
  const { addToGroupId, removeFromGroupId } = request;
  if (addToGroupId !== undefined && addToGroupId === removeFromGroupId) {
    throw invalidField('removeFromGroupId', 'This is the group that they are to be added to; choose one.');
  }
}

async function refuseForbidden(
  tx: Tx,
  request: BulkTargetRequest,
  ids: readonly number[],
  caller: Caller,
): Promise<void> {
  const { authority } = caller;
  const isOfGroups = request.addToGroupId !== undefined || request.removeFromGroupId !== undefined;
  if (isOfGroups && !authority.holdsEverywhere('target_groups.edit')) {
    throw new MissingPermission(caller, 'target_groups.edit', 'everything');
  }
  if (authority.holdsEverywhere('targets.edit')) return;
  const outside = await targetsOutside(tx, ids, authority.reach('targets.edit'));
  const [first] = outside;
  if (first === undefined) return;
  const details = outside.slice(0, 100).map(({ name }) => ({
    path: 'selection',
    found: name,
    message: `You may not change target “${name}”: that needs the permission targets.edit on it.`,
  }));
  const others = outside.length === 1 ? '' : ` and ${outside.length - 1} more`;
  throw new MissingPermission(caller, 'targets.edit', `target “${first.name}”${others}`, details);
}

/** A credential belongs to one segment, and the caller must be allowed to use it on each target. */
async function refuseCredential(
  tx: Tx,
  credentialId: string | null | undefined,
  ids: readonly number[],
  caller: Caller,
): Promise<void> {
  if (credentialId === null || credentialId === undefined) return;
  const [segment, other] = await segmentsOfTargets(tx, ids);
  if (segment === undefined) return;
  if (other !== undefined) {
    const message = `The targets are in several segments (${segment.name}, ${other.name}, …), and a credential is sealed to one: select targets of one segment.`;
    throw invalidField('credentialId', message);
  }
  await requireCredential(tx, credentialId, segment, caller);
  const [first] = await targetsOutside(tx, ids, caller.authority.reach('credentials.use'));
  if (first !== undefined) throw new MissingPermission(caller, 'credentials.use', `target “${first.name}”`);
}

async function groupsOf(tx: Tx, request: BulkTargetRequest, caller: Caller): Promise<Groups> {
  const find = async (path: 'addToGroupId' | 'removeFromGroupId') => {
    const id = request[path];
    if (id === undefined) return undefined;
    const group = await findTargetGroup(tx, id, caller.authority.reach('read'));
    if (group?.isWhole !== true) throw notFound(`Target group ${id}`);
    return group;
  };
  return { add: await find('addToGroupId'), remove: await find('removeFromGroupId') };
}

function changeOf(request: BulkTargetRequest): BulkChange {
  const { setLabels = {}, unsetLabels = [], isActive, credentialId } = request;
  return { setLabels, unsetLabels, isActive, credentialId };
}

async function changedBy(
  tx: Tx,
  request: BulkTargetRequest,
  ids: readonly number[],
  groups: Groups,
): Promise<number[]> {
  if (request.delete === true) return [...ids];
  return changedByBulk(tx, ids, changeOf(request), { add: groups.add?.id, remove: groups.remove?.id });
}

async function apply(
  tx: Tx,
  request: BulkTargetRequest,
  ids: readonly number[],
  { add, remove }: Groups,
  caller: Caller,
): Promise<void> {
  if (request.delete === true) {
    await refuseInUse(tx, ids);
    await deleteTargets(tx, ids);
  } else {
    if (request.credentialId !== undefined) await forgetContactsWith(tx, ids, request.credentialId);
    const { tooManyLabels } = await changeTargets(tx, ids, changeOf(request));
    if (tooManyLabels !== undefined) {
      throw invalidField('setLabels', `Target “${tooManyLabels}” would have more than 64 labels.`);
    }
    if (request.setLabels !== undefined || request.unsetLabels !== undefined) {
      await refreshMembersOfTargets(tx, ids, caller);
    }
    if (add !== undefined) {
      await putEntries(tx, add.id, ids, false);
      await refreshMembersOfGroup(tx, add, caller, ids);
    }
    if (remove !== undefined) await removeFrom(tx, remove, ids, caller);
  }
}

/**
 * Writes one row per segment, so that readers of one segment's rows only read about its targets. Each deleted target
 * also has its own row, because its id alone would mean nothing afterwards.
 */
async function audit(
  tx: Tx,
  request: BulkTargetRequest,
  selected: readonly BulkTarget[],
  changed: readonly number[],
  caller: Caller,
): Promise<void> {
  const { selection, dryRun: _, ...change } = request;
  const isChanged = new Set(changed);
  if (request.delete === true) {
    const deleted = selected.filter(({ id }) => isChanged.has(id));
    await recordAudits(
      tx,
      deleted.map(({ id, name, host, port, segmentName, segmentId }) => ({
        ...auditedBy(caller),
        action: 'target.deleted',
        object: { kind: 'target', id },
        detail: { name, host, port, segment: segmentName, bulk: true },
        scope: { segmentId },
      })),
    );
  }
  const bySegment = new Map<number, number[]>();
  for (const { id, segmentId } of selected) {
    if (!isChanged.has(id)) continue;
    const ids = bySegment.get(segmentId) ?? [];
    ids.push(id);
    bySegment.set(segmentId, ids);
  }
  for (const [segmentId, ids] of bySegment) {
    await recordAudit(tx, {
      ...auditedBy(caller),
      action: request.delete === true ? 'targets.deleted' : 'targets.changed',
      object: { kind: 'targets', id: ids.length },
      scope: { segmentId },
      detail: {
        ...change,
        count: ids.length,
        targetIds: ids.slice(0, 1000),
        selector: selection.selector ?? null,
      },
    });
  }
}

/** Removes targets from the list, and excludes those that the selector would bring back. */
async function removeFrom(
  tx: Tx,
  group: TargetGroupRow,
  ids: readonly number[],
  caller: Caller,
): Promise<void> {
  await removeEntries(tx, group.id, { targetIds: ids, excluded: false });
  const selected = await selectedBySelector(tx, group.selector, ids);
  await putEntries(tx, group.id, selected, true);
  await refreshMembersOfGroup(tx, group, caller, ids);
}
