import { isDeepStrictEqual } from 'node:util';
import type { CreateTargetRequest, Target, UpdateTargetRequest } from '@opsconductor/protocol';
import { recordAudit } from '../audit/record-audit.ts';
import { MissingPermission } from '../auth/missing-permission.ts';
import { auditedBy, type Caller } from '../caller.ts';
import { refuseChanged } from '../conflicts/refuse-changed.ts';
import { AppError, invalidField, notFound } from '../errors.ts';
import { type Sql, type Tx, violatedConstraint } from '../store/database/connection.ts';
import { inTransaction } from '../store/database/transaction.ts';
import { deleteHostKeys } from '../store/host-keys/host-keys.ts';
import { awaitHostTrust } from '../store/host-keys/host-trust.ts';
import { segmentSeen } from '../store/people/place-names.ts';
import { unrestricted } from '../store/people/visibility.ts';
import { lockCredential } from '../store/targets/credentials.ts';
import { forgetContacts } from '../store/targets/target-contacts.ts';
import { lockMembership } from '../store/targets/target-group-members.ts';
import {
  deleteTargets,
  findOpenRunOf,
  findTarget,
  insertTarget,
  lockTarget,
  type TargetFields,
  type TargetRow,
  updateTarget as updateTargetRow,
} from '../store/targets/targets.ts';
import { refreshMembersOfTargets } from '../target-groups/refresh-members.ts';
import { connectionOf } from './connection-of.ts';
import { acceptGivenKey } from './host-keys.ts';
import { requireJumpHosts } from './jump-hosts.ts';
import { getTarget } from './list-targets.ts';
import { requireOnTarget } from './require-on-target.ts';

const newTarget: Omit<TargetFields, 'name' | 'host'> = {
  port: null,
  credentialId: null,
  operatingSystem: 'linux',
  labels: {},
  description: '',
  settings: {},
  isActive: true,
};

/**
 * Creates a target.
 * @throws {AppError} `invalid` for a segment or credential that does not exist there; `conflict` for a name that is
 * taken in the segment, or a fingerprint that is revoked there; `forbidden` if the caller may not edit in the segment,
 * use the credential or accept the fingerprint there, or give others the rights that the target's groups would give.
 */
export async function createTarget(sql: Sql, request: CreateTargetRequest, caller: Caller): Promise<Target> {
  const fields = withChanges({ ...newTarget, name: request.name, host: request.host }, request);
  // Everyone needs `lockMembership`, which precedes any row lock. So a long change of what the segment trusts is waited
  // for here, before that lock is held.
  if (
    request.hostKeyFingerprint !== undefined &&
    caller.authority.holdsOnSegment('host_keys.approve', request.segmentId)
  )
    await awaitHostTrust(sql, request.segmentId);
  const id = await inTransaction(sql, async (tx) => {
    await lockMembership(tx);
    const segment = await segmentSeen(tx, request.segmentId, caller.authority.reach('read'));
    if (segment === undefined) throw invalidField('segmentId', `There is no segment ${request.segmentId}.`);
    if (!caller.authority.holdsOnSegment('targets.edit', segment.id)) {
      throw new MissingPermission(caller, 'targets.edit', `segment “${segment.name}”`);
    }
    await requireCredential(tx, fields.credentialId, segment, caller);
    if (fields.credentialId !== null && !caller.authority.holdsOnSegment('credentials.use', segment.id)) {
      throw new MissingPermission(caller, 'credentials.use', `segment “${segment.name}”`);
    }
    const { jump_hosts: names } = fields.settings;
    await requireJumpHosts(tx, caller, { names, before: undefined, segmentId: segment.id });
    const fingerprint = request.hostKeyFingerprint;
    if (fingerprint !== undefined && !caller.authority.holdsOnSegment('host_keys.approve', segment.id)) {
      throw new MissingPermission(caller, 'host_keys.approve', `segment “${segment.name}”`);
    }
    const id = await insertTarget(tx, { segmentId: segment.id, ...fields });
    await refreshMembersOfTargets(tx, [id], caller);
    await recordAudit(tx, {
      ...auditedBy(caller),
      action: 'target.created',
      object: { kind: 'target', id },
      detail: { ...fields, segment: segment.name, ...(fingerprint === undefined ? {} : { fingerprint }) },
      scope: { segmentId: segment.id },
    });
    if (fingerprint !== undefined) {
      await acceptGivenKey(tx, { id, name: fields.name, segmentId: segment.id }, fingerprint, caller);
    }
    return id;
  }).catch((error) => {
    throw nameTaken(error, request.name);
  });
  return getTarget(sql, id, unrestricted);
}

/**
 * Changes a target; what the request leaves out stays unchanged. Another host or port is another machine: its host keys
 * are then forgotten, which the answer and the audit log show. Its health is forgotten with any change of how it is
 * reached.
 * @throws {AppError} `not_found`; `invalid` for a credential of another segment; `conflict` for a taken name, or if a
 * field does not have the value that the request expects; `forbidden` like `createTarget`.
 */
export async function updateTarget(
  sql: Sql,
  id: number,
  request: UpdateTargetRequest,
  caller: Caller,
): Promise<Target> {
  await inTransaction(sql, async (tx) => {
    await lockMembership(tx);
    const target = await lockTarget(tx, id, caller.authority.reach('read'));
    if (target === undefined) throw notFound('Target');
    await requireOnTarget(tx, caller, 'targets.edit', target);
    const before = fieldsOf(target);
    refuseChanged(`Target ${target.name}`, { ...before }, request.expected);
    const fields = withChanges(before, request);
    if (fields.credentialId !== target.credentialId) {
      const segment = { id: target.segmentId, name: target.segmentName };
      await requireCredential(tx, fields.credentialId, segment, caller);
      if (fields.credentialId !== null) await requireOnTarget(tx, caller, 'credentials.use', target);
    }
    await requireJumpHosts(tx, caller, {
      names: fields.settings.jump_hosts,
      before: target.settings.jump_hosts,
      segmentId: target.segmentId,
    });
    await updateTargetRow(tx, id, fields);
    await refreshMembersOfTargets(tx, [id], caller);
    const isOther =
      fields.host.toLowerCase() !== target.host.toLowerCase() ||
      (await portOf(tx, id)) !== effectivePort(target);
    const forgottenHostKeys = isOther ? await deleteHostKeys(tx, id) : [];
    const isReachedOtherwise =
      isOther ||
      fields.credentialId !== target.credentialId ||
      !isDeepStrictEqual(fields.settings, target.settings);
    if (isReachedOtherwise) await forgetContacts(tx, [id]);
    await recordAudit(tx, {
      ...auditedBy(caller),
      action: 'target.changed',
      object: { kind: 'target', id },
      detail: { from: before, to: fields, forgottenHostKeys },
      scope: { segmentId: target.segmentId },
    });
  }).catch((error) => {
    throw nameTaken(error, request.name);
  });
  return getTarget(sql, id, unrestricted);
}

/**
 * Deletes a target. Its past runs keep its name.
 * @throws {AppError} `not_found`; `forbidden`; `conflict` while an open run has work on it.
 */
export async function deleteTarget(sql: Sql, id: number, caller: Caller): Promise<void> {
  await inTransaction(sql, async (tx) => {
    await lockMembership(tx);
    const target = await lockTarget(tx, id, caller.authority.reach('read'));
    if (target === undefined) throw notFound('Target');
    await requireOnTarget(tx, caller, 'targets.edit', target);
    await refuseInUse(tx, [id]);
    await deleteTargets(tx, [id]);
    const { name, host, port, segmentName, segmentId } = target;
    await recordAudit(tx, {
      ...auditedBy(caller),
      action: 'target.deleted',
      object: { kind: 'target', id },
      detail: { name, host, port, segment: segmentName },
      scope: { segmentId },
    });
  });
}

/** @throws {AppError} `conflict` while an open run has work on one of these. */
export async function refuseInUse(tx: Tx, targetIds: readonly number[]): Promise<void> {
  const used = await findOpenRunOf(tx, targetIds);
  if (used === undefined) return;
  throw new AppError(
    'conflict',
    `Run ${used.runId} still has work on ${used.targetName}. Wait for its end or cancel it, then delete the target.`,
  );
}

function fieldsOf(target: TargetRow): TargetFields {
  const { name, host, port, credentialId, operatingSystem, labels, description, settings, isActive } = target;
  return { name, host, port, credentialId, operatingSystem, labels, description, settings, isActive };
}

function withChanges(fields: TargetFields, request: UpdateTargetRequest): TargetFields {
  const of = <K extends keyof TargetFields>(name: K): TargetFields[K] => {
    const value = request[name as keyof UpdateTargetRequest];
    return value === undefined ? fields[name] : (value as TargetFields[K]);
  };
  return {
    name: of('name'),
    host: of('host'),
    port: of('port'),
    credentialId: of('credentialId'),
    operatingSystem: of('operatingSystem'),
    labels: of('labels'),
    description: of('description'),
    settings: of('settings'),
    isActive: of('isActive'),
  };
}

function effectivePort(target: TargetRow): number {
  return connectionOf(target.mergedSettings, target.port).port;
}

async function portOf(tx: Tx, id: number): Promise<number | undefined> {
  const target = await findTarget(tx, id, unrestricted);
  return target === undefined ? undefined : effectivePort(target);
}

/** @throws {AppError} `invalid` unless it belongs to the segment. */
export async function requireCredential(
  tx: Tx,
  credentialId: string | null,
  segment: { id: number; name: string },
  caller: Caller,
): Promise<void> {
  if (credentialId === null) return;
  const credential = await lockCredential(tx, credentialId);
  if (credential?.segmentId === segment.id) return;
  const isSeen =
    credential !== undefined &&
    (await segmentSeen(tx, credential.segmentId, caller.authority.reach('read'))) !== undefined;
  throw invalidField(
    'credentialId',
    !isSeen
      ? 'There is no such credential.'
      : `This credential is sealed to segment ${credential.segmentName}; a target in ${segment.name} needs one of its own segment.`,
  );
}

function nameTaken(error: unknown, name: string | undefined): unknown {
  if (violatedConstraint(error) !== 'targets_segment_id_name_key') return error;
  const message = `There is a target named ${name} in this segment already; choose another name.`;
  return new AppError('conflict', message, { cause: error, details: [{ path: 'name', message }] });
}
