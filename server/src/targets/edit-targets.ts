import type { CreateTargetRequestSchema, Target, UpdateTargetRequestSchema } from '@opsconductor/protocol';
import type { Static } from 'typebox';
import { recordAudit } from '../audit/record-audit.ts';
import { auditedBy, type Caller } from '../caller.ts';
import { AppError, invalidField, notFound } from '../errors.ts';
import { type Sql, type Tx, violatedConstraint } from '../store/connection.ts';
import { lockCredential } from '../store/credentials.ts';
import { deleteHostKeys, insertGivenFingerprint } from '../store/host-keys.ts';
import { findSegment } from '../store/segments.ts';
import {
  deleteTarget as deleteTargetRow,
  findOpenRunOf,
  insertTarget,
  lockTarget,
  type TargetFields,
  updateTarget as updateTargetRow,
} from '../store/targets.ts';
import { inTransaction } from '../store/transaction.ts';
import { getTarget } from './list-targets.ts';

export type CreateTargetRequest = Static<typeof CreateTargetRequestSchema>;
export type UpdateTargetRequest = Static<typeof UpdateTargetRequestSchema>;

const defaultPort = 22;

/**
 * Creates a target.
 *
 * @throws {AppError} `invalid` for a segment or credential that does not exist there; `conflict` for a name that is
 * taken in the segment.
 */
export async function createTarget(sql: Sql, request: CreateTargetRequest, caller: Caller): Promise<Target> {
  const fields = fieldsOf(request);
  const id = await inTransaction(sql, async (tx) => {
    const segment = await findSegment(tx, request.segmentId);
    if (segment === undefined) throw invalidField('segmentId', `There is no segment ${request.segmentId}.`);
    await requireCredential(tx, fields.credentialId, segment);
    const id = await insertTarget(tx, { segmentId: segment.id, ...fields });
    const fingerprint = request.hostKeyFingerprint;
    if (fingerprint !== undefined) {
      await insertGivenFingerprint(tx, { targetId: id, fingerprint, acceptedBy: caller.userId });
    }
    await recordAudit(tx, {
      ...auditedBy(caller),
      action: 'target.created',
      object: { kind: 'target', id },
      detail: { ...fields, segment: segment.name, ...(fingerprint === undefined ? {} : { fingerprint }) },
    });
    return id;
  }).catch((error) => {
    throw nameTaken(error, request.name);
  });
  return getTarget(sql, id);
}

/**
 * Changes a target as a whole. Another host or port is another machine: its host keys are then forgotten, which
 * shows in the answer and in the audit log.
 *
 * @throws {AppError} `not_found`; `invalid` for a credential of another segment; `conflict` for a taken name.
 */
export async function updateTarget(
  sql: Sql,
  id: number,
  request: UpdateTargetRequest,
  caller: Caller,
): Promise<Target> {
  await inTransaction(sql, async (tx) => {
    const target = await lockTarget(tx, id);
    if (target === undefined) throw notFound('Target');
    // A PUT that leaves the credential out leaves it as it is; null takes it away.
    const credentialId = request.credentialId === undefined ? target.credentialId : request.credentialId;
    const fields = { ...fieldsOf(request), credentialId };
    const segment = { id: target.segmentId, name: target.segmentName };
    if (credentialId !== target.credentialId) await requireCredential(tx, credentialId, segment);
    await updateTargetRow(tx, id, fields);
    const moved = fields.host.toLowerCase() !== target.host.toLowerCase() || fields.port !== target.port;
    const forgottenHostKeys = moved ? await deleteHostKeys(tx, id) : [];
    const { name, host, port } = target;
    await recordAudit(tx, {
      ...auditedBy(caller),
      action: 'target.changed',
      object: { kind: 'target', id },
      detail: {
        from: { name, host, port, credentialId: target.credentialId },
        to: fields,
        forgottenHostKeys,
      },
    });
  }).catch((error) => {
    throw nameTaken(error, request.name);
  });
  return getTarget(sql, id);
}

/**
 * Deletes a target. The runs it had keep its name.
 *
 * @throws {AppError} `not_found`; `conflict` while an open run has work on it.
 */
export async function deleteTarget(sql: Sql, id: number, caller: Caller): Promise<void> {
  await inTransaction(sql, async (tx) => {
    const target = await lockTarget(tx, id);
    if (target === undefined) throw notFound('Target');
    const runId = await findOpenRunOf(tx, id);
    if (runId !== undefined) {
      throw new AppError(
        'conflict',
        `Run ${runId} still has work on ${target.name}. Wait for its end or cancel it, then delete the target.`,
      );
    }
    await deleteTargetRow(tx, id);
    await recordAudit(tx, {
      ...auditedBy(caller),
      action: 'target.deleted',
      object: { kind: 'target', id },
      detail: { name: target.name, host: target.host, port: target.port, segment: target.segmentName },
    });
  });
}

function fieldsOf(request: UpdateTargetRequest): TargetFields {
  const { name, host, port, credentialId } = request;
  return { name, host, port: port ?? defaultPort, credentialId: credentialId ?? null };
}

async function requireCredential(
  tx: Tx,
  credentialId: string | null,
  segment: { id: number; name: string },
): Promise<void> {
  if (credentialId === null) return;
  const credential = await lockCredential(tx, credentialId);
  if (credential?.segmentId === segment.id) return;
  throw invalidField(
    'credentialId',
    credential === undefined
      ? 'There is no such credential.'
      : `This credential is sealed to segment ${credential.segmentName}; a target in ${segment.name} needs one of its own segment.`,
  );
}

function nameTaken(error: unknown, name: string): unknown {
  if (violatedConstraint(error) !== 'targets_segment_id_name_key') return error;
  const message = `There is a target named ${name} in this segment already; choose another name.`;
  return new AppError('conflict', message, { cause: error, details: [{ path: 'name', message }] });
}
