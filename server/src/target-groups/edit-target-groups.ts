import type { CreateTargetGroupRequest, TargetGroup, UpdateTargetGroupRequest } from '@opsconductor/protocol';
import { patternsOf } from '@opsconductor/protocol';
import { recordAudit } from '../audit/record-audit.ts';
import { MissingPermission } from '../auth/missing-permission.ts';
import { auditedBy, type Caller } from '../caller.ts';
import { refuseChanged } from '../conflicts/refuse-changed.ts';
import { AppError, invalidField, notFound } from '../errors.ts';
import { recordGoingGrants } from '../people/audit-grants.ts';
import { type Sql, type Tx, violatedConstraint } from '../store/database/connection.ts';
import { inTransaction } from '../store/database/transaction.ts';
import { unrestricted } from '../store/people/visibility.ts';
import { listSelectingGroups, lockMembership } from '../store/targets/target-group-members.ts';
import {
  deleteTargetGroup as deleteRow,
  findTargetGroup,
  insertTargetGroup,
  listEntryIds,
  lockCredentialsOfSegments,
  lockTargetGroup,
  putEntries,
  removeEntries,
  setGroupCredentials,
  type TargetGroupFields,
  type TargetGroupRow,
  updateTargetGroup as updateRow,
} from '../store/targets/target-groups.ts';
import { targetsSeen } from '../store/targets/target-selection.ts';
import { requireJumpHosts } from '../targets/jump-hosts.ts';
import { readSelector } from '../targets/selection/read-selector.ts';
import { GroupOrderError, orderGroups, selectingGroup } from './group-order.ts';
import { getTargetGroup } from './list-target-groups.ts';
import { refreshMembersOfGroup } from './refresh-members.ts';

const newGroup = { description: '', selector: null, priority: 0, settings: {} };

/**
 * Creates a target group with its members.
 * @throws {AppError} `invalid` for an invalid selector, target or credential; `conflict` for a taken name; `forbidden`
 * for a credential that the caller may not use.
 */
export async function createTargetGroup(
  sql: Sql,
  request: CreateTargetGroupRequest,
  caller: Caller,
): Promise<TargetGroup> {
  const id = await inTransaction(sql, async (tx) => {
    await lockMembership(tx);
    const fields = withChanges({ ...newGroup, name: request.name }, request);
    await checkSelector(tx, fields, undefined, caller);
    await requireJumpHosts(tx, caller, { names: fields.settings.jump_hosts, before: undefined });
    const id = await insertTargetGroup(tx, { ...fields, createdBy: caller.userId });
    await writeParts(tx, id, request, caller);
    const changes = await refreshMembersOfGroup(tx, { id, name: fields.name }, caller);
    await recordAudit(tx, {
      ...auditedBy(caller),
      action: 'target_group.created',
      object: { kind: 'target_group', id },
      detail: { ...fields, ...partsDetail(request), members: changes.length },
    });
    return id;
  }).catch((error) => {
    throw nameTaken(error, request.name);
  });
  return getTargetGroup(sql, id, unrestricted, caller.authority.reach('read'));
}

/**
 * Changes a target group and its members; what the request leaves out stays unchanged.
 * @throws {AppError} like `createTargetGroup`; `not_found`; `conflict` for another name while groups select it by the
 * current one, or if the group is not as expected; `forbidden` if a target would join on which others would get rights that the caller doesn't hold.
 */
export async function updateTargetGroup(
  sql: Sql,
  id: number,
  request: UpdateTargetGroupRequest,
  caller: Caller,
): Promise<TargetGroup> {
  await inTransaction(sql, async (tx) => {
    await lockMembership(tx);
    const before = await findTargetGroup(tx, id, caller.authority.reach('read'));
    if (before?.isWhole !== true) throw notFound('Target group');
    await refuseOutdated(tx, before, request.expected);
    const fields = withChanges(before, request);
    if (fields.name !== before.name) await refuseSelected(tx, id, before.name, 'renamed');
    await checkSelector(tx, fields, id, caller);
    await requireJumpHosts(tx, caller, {
      names: fields.settings.jump_hosts,
      before: before.settings.jump_hosts,
    });
    await updateRow(tx, id, fields);
    await writeParts(tx, id, request, caller);
    const changes = await refreshMembersOfGroup(tx, { id, name: fields.name }, caller);
    const { name, description, selector, priority, settings } = before;
    const came = changes.filter((change) => change.added).length;
    await recordAudit(tx, {
      ...auditedBy(caller),
      action: 'target_group.changed',
      object: { kind: 'target_group', id },
      detail: {
        from: { name, description, selector, priority, settings },
        to: fields,
        ...partsDetail(request),
        members: { came, went: changes.length - came },
      },
    });
  }).catch((error) => {
    throw nameTaken(error, request.name ?? '');
  });
  return getTargetGroup(sql, id, unrestricted, caller.authority.reach('read'));
}

/**
 * Deletes a target group and the grants on it.
 * @throws {AppError} `not_found`; `conflict` while other groups select it.
 */
export async function deleteTargetGroup(sql: Sql, id: number, caller: Caller): Promise<void> {
  await inTransaction(sql, async (tx) => {
    await lockMembership(tx);
    const group = await findTargetGroup(tx, id, caller.authority.reach('read'));
    if (group?.isWhole !== true) throw notFound('Target group');
    await refuseSelected(tx, id, group.name, 'deleted');
    await lockTargetGroup(tx, id);
    const grants = await recordGoingGrants(tx, { kind: 'target_group', id }, caller);
    await deleteRow(tx, id);
    const { name, selector, memberCount } = group;
    await recordAudit(tx, {
      ...auditedBy(caller),
      action: 'target_group.deleted',
      object: { kind: 'target_group', id },
      detail: { name, selector, members: memberCount, grants },
    });
  });
}

async function refuseOutdated(
  tx: Tx,
  group: TargetGroupRow,
  expected: UpdateTargetGroupRequest['expected'],
): Promise<void> {
  if (expected === undefined) return;
  const { name, description, selector, priority, settings } = group;
  const credentials = group.credentials.map(({ segmentId, credentialId }) => ({ segmentId, credentialId }));
  const now = {
    name,
    description,
    selector,
    priority,
    settings,
    credentials,
    ...(await listEntryIds(tx, group.id)),
  };
  refuseChanged(`Target group ${name}`, sortedLists(now), sortedLists(expected));
}

function sortedLists(fields: Record<string, unknown>): Record<string, unknown> {
  const keyOf = (item: unknown) => Number(Object(item).segmentId ?? item);
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [
      name,
      Array.isArray(value) ? value.toSorted((a, b) => keyOf(a) - keyOf(b)) : value,
    ]),
  );
}

function withChanges(fields: TargetGroupFields, request: UpdateTargetGroupRequest): TargetGroupFields {
  return {
    name: request.name ?? fields.name,
    description: request.description ?? fields.description,
    selector: request.selector === undefined ? fields.selector : request.selector,
    priority: request.priority ?? fields.priority,
    settings: request.settings ?? fields.settings,
  };
}

function partsDetail({ targetIds, excludedTargetIds, credentials }: UpdateTargetGroupRequest) {
  return {
    ...(targetIds === undefined ? {} : { listed: targetIds.length }),
    ...(excludedTargetIds === undefined ? {} : { excluded: excludedTargetIds.length }),
    ...(credentials === undefined ? {} : { credentials }),
  };
}

/**
 * A group's selector must name other groups in full: what it selects must not depend on groups that are created later.
 */
async function checkSelector(
  tx: Tx,
  group: TargetGroupFields,
  id: number | undefined,
  caller: Caller,
): Promise<void> {
  if (group.selector === null) return;
  const selector = await readSelector(tx, group.selector, 'selector', caller.authority.reach('read'));
  const pattern = patternsOf(selector, 'group').find((one) => one.pattern.includes('*'));
  if (pattern !== undefined) {
    const message = `Column ${pattern.column}: A group names other groups in full. Write group:… without *.`;
    throw invalidField('selector', message);
  }
  const others = (await listSelectingGroups(tx)).filter((other) => other.id !== id);
  try {
    const own = { id: id ?? 0, name: group.name, selector: group.selector };
    orderGroups([own, ...others].map(selectingGroup));
  } catch (error) {
    if (error instanceof GroupOrderError) throw invalidField('selector', error.message);
    throw error;
  }
}

async function refuseSelected(tx: Tx, id: number, name: string, what: string): Promise<void> {
  const selecting = (await listSelectingGroups(tx))
    .map(selectingGroup)
    .filter((group) => group.id !== id && group.selects.has(name));
  const [first] = selecting;
  if (first === undefined) return;
  throw new AppError(
    'conflict',
    `Target group “${first.name}” selects the members of “${name}”. Change its selector, then this one can be ${what}.`,
  );
}

async function writeParts(
  tx: Tx,
  id: number,
  request: UpdateTargetGroupRequest,
  caller: Caller,
): Promise<void> {
  const { targetIds, excludedTargetIds, credentials } = request;
  await requireTargets(tx, 'targetIds', targetIds, caller);
  await requireTargets(tx, 'excludedTargetIds', excludedTargetIds, caller);
  const excluded = new Set(excludedTargetIds);
  const both = targetIds?.findIndex((one) => excluded.has(one)) ?? -1;
  if (both >= 0) throw invalidField(`targetIds[${both}]`, 'A target is either listed or excluded, not both.');
  for (const [ids, isExcluded] of [
    [targetIds, false],
    [excludedTargetIds, true],
  ] as const) {
    if (ids === undefined) continue;
    await removeEntries(tx, id, { excluded: isExcluded });
    await putEntries(tx, id, ids, isExcluded);
  }
  if (credentials === undefined) return;
  await requireCredentials(tx, credentials, caller);
  await setGroupCredentials(tx, id, credentials);
}

async function requireTargets(
  tx: Tx,
  path: string,
  ids: readonly number[] | undefined,
  caller: Caller,
): Promise<void> {
  if (ids === undefined) return;
  const seen = await targetsSeen(tx, ids, caller.authority.reach('read'));
  const details = ids.flatMap((id, index) =>
    seen.has(id) ? [] : [{ path: `${path}[${index}]`, message: `There is no target ${id}.` }],
  );
  const [first] = details;
  if (first !== undefined) throw new AppError('invalid', first.message, { details: details.slice(0, 100) });
}

async function requireCredentials(
  tx: Tx,
  credentials: NonNullable<UpdateTargetGroupRequest['credentials']>,
  caller: Caller,
): Promise<void> {
  const known = await lockCredentialsOfSegments(tx, credentials);
  const segments = new Set<number>();
  for (const [index, { segmentId, credentialId }] of credentials.entries()) {
    const path = `credentials[${index}]`;
    if (segments.has(segmentId)) {
      throw invalidField(`${path}.segmentId`, 'This segment is named twice; give it one credential.');
    }
    segments.add(segmentId);
    if (!known.has(`${segmentId} ${credentialId.toLowerCase()}`)) {
      throw invalidField(`${path}.credentialId`, `There is no such credential in segment ${segmentId}.`);
    }
    if (!caller.authority.holdsOnSegment('credentials.use', segmentId)) {
      throw new MissingPermission(caller, 'credentials.use', `segment ${segmentId}`);
    }
  }
}

function nameTaken(error: unknown, name: string): unknown {
  if (violatedConstraint(error) !== 'target_groups_name_key') return error;
  const message = `There is a target group named ${name} already; choose another name.`;
  return new AppError('conflict', message, { cause: error, details: [{ path: 'name', message }] });
}
