import type {
  CreateCredentialRequestSchema,
  CreateCredentialVersionRequestSchema,
  Credential,
  UpdateCredentialRequest,
} from '@opsconductor/protocol';
import { isCalendarDate } from '@opsconductor/protocol';
import { decodeBase64, type SealedCredential, SealingError } from '@opsconductor/protocol/sealing';
import type { Static } from 'typebox';
import { recordAudit } from '../audit/record-audit.ts';
import { MissingPermission } from '../auth/missing-permission.ts';
import { auditedBy, type Caller } from '../caller.ts';
import { refuseChanged } from '../conflicts/refuse-changed.ts';
import { AppError, invalidField, notFound } from '../errors.ts';
import { refuseWhileRotating } from '../segments/segment-keys/sealing-key.ts';
import { lockSegment, type SegmentRow } from '../store/agents/segments.ts';
import { type Sql, type Tx, violatedConstraint } from '../store/database/connection.ts';
import { inTransaction } from '../store/database/transaction.ts';
import { unrestricted } from '../store/people/visibility.ts';
import {
  deleteCredential as deleteCredentialRow,
  findCredential,
  insertCredential,
  insertCredentialVersion,
  lockCredential,
  updateCredential as updateCredentialRow,
} from '../store/targets/credentials.ts';
import { usesOfCredential } from '../store/targets/effective-settings.ts';
import { refuseUnstorableText } from '../validation/storable-text.ts';
import { getCredential } from './list-credentials.ts';

export type CreateCredentialRequest = Static<typeof CreateCredentialRequestSchema>;
export type CreateCredentialVersionRequest = Static<typeof CreateCredentialVersionRequestSchema>;

// Sizes of HPKE with X25519 and AES-256-GCM (RFC 9180 section 7) around a 32-byte data key, and of the AES-GCM seal,
// whose plaintext is padded to blocks of 256 bytes and has at most 128 KiB.
const encBytes = 32;
const wrappedKeyBytes = 32 + 16;
const nonceBytes = 12;
const tagBytes = 16;
const blockBytes = 256;
const maxCiphertextBytes = 128 * 1024 + blockBytes + tagBytes;

/**
 * Stores a credential that the client has sealed. Only its form is checked here: nobody but agents can open it.
 *
 * @throws {AppError} `invalid` if the seal has the wrong form; `conflict` if the segment has no key, the generation is
 * an old one, or the id or name is taken; `forbidden` without `credentials.edit` on the segment.
 */
export async function createCredential(
  sql: Sql,
  request: CreateCredentialRequest,
  caller: Caller,
): Promise<Credential> {
  refuseUnstorableText(request);
  requireDay(request.expiresOn);
  requireSealForm(request.sealed);
  const { id, segmentId, name, kind, sealed } = request;
  try {
    await inTransaction(sql, async (tx) => {
      const segment = await lockSegment(tx, segmentId);
      if (segment === undefined || !caller.authority.holdsOnSegment('read', segmentId)) {
        throw invalidField('segmentId', `There is no segment ${segmentId}.`);
      }
      requireEdit(caller, segmentId, segment.name);
      requireCurrentGeneration(segment, sealed.generation);
      await insertCredential(tx, {
        id,
        segmentId,
        name,
        description: request.description ?? '',
        expiresOn: request.expiresOn ?? null,
        kind,
        createdBy: caller.userId,
        sealed: pick(sealed),
      });
      await recordAudit(tx, {
        ...auditedBy(caller),
        action: 'credential.created',
        object: { kind: 'credential', id: id.toLowerCase() },
        scope: { segmentId },
        detail: { name, kind, segment: segment.name, generation: sealed.generation },
      });
    });
  } catch (error) {
    throw takenError(error, name);
  }
  return getCredential(sql, id, unrestricted);
}

/**
 * Replaces the secret of a credential by one that is sealed to the segment's current key. Steps leased from then on get
 * the new secret; running steps keep the one they have.
 *
 * @throws {AppError} `not_found`; `forbidden` without `credentials.edit` on its segment; `invalid` if the seal has the
 * wrong form; `conflict` if the version isn't the next one, or the generation is an old one.
 */
export async function replaceCredential(
  sql: Sql,
  id: string,
  request: CreateCredentialVersionRequest,
  caller: Caller,
): Promise<Credential> {
  refuseUnstorableText(request);
  requireDay(request.expiresOn);
  requireSealForm(request.sealed);
  const { version, sealed } = request;
  await inTransaction(sql, async (tx) => {
    const found = await findCredential(tx, id, caller.authority.reach('read'));
    const segment = found && (await lockSegment(tx, found.segmentId));
    const credential = found && (await lockCredential(tx, id));
    if (segment === undefined || credential === undefined) throw notFound('Credential');
    requireEdit(caller, segment.id, segment.name);
    requireCurrentGeneration(segment, sealed.generation);
    if (version !== credential.version + 1) {
      const message = `Sealed as version ${version}; the next version of ${credential.name} is ${credential.version + 1}. Seal it again as that version: the seal is bound to it.`;
      throw new AppError('conflict', message, { details: [{ path: 'version', message }] });
    }
    const description = request.description ?? credential.description;
    const expiresOn = request.expiresOn ?? null;
    await insertCredentialVersion(tx, credential.id, {
      version,
      description,
      expiresOn,
      sealed: pick(sealed),
    });
    await recordAudit(tx, {
      ...auditedBy(caller),
      action: 'credential.replaced',
      object: { kind: 'credential', id: credential.id },
      scope: { segmentId: segment.id },
      detail: { name: credential.name, segment: segment.name, version, generation: sealed.generation },
    });
  });
  return getCredential(sql, id, unrestricted);
}

/**
 * Changes what is stored next to the seal. That is for people to read and doesn't affect any step. What the request
 * leaves out stays unchanged.
 *
 * @throws {AppError} `not_found`; `forbidden` without `credentials.edit` on its segment; `invalid` if `expiresOn` isn't
 * a date of the calendar; `conflict` if the credential is not as expected.
 */
export async function updateCredential(
  sql: Sql,
  id: string,
  request: UpdateCredentialRequest,
  caller: Caller,
): Promise<Credential> {
  refuseUnstorableText(request);
  await inTransaction(sql, async (tx) => {
    const credential = await lockCredential(tx, id);
    if (credential === undefined || !caller.authority.holdsOnSegment('read', credential.segmentId)) {
      throw notFound('Credential');
    }
    requireEdit(caller, credential.segmentId, credential.segmentName);
    requireDay(request.expiresOn);
    const { description, expiresOn } = credential;
    refuseChanged(`Credential ${credential.name}`, { description, expiresOn }, request.expected);
    const to = {
      description: request.description ?? description,
      expiresOn: request.expiresOn === undefined ? expiresOn : request.expiresOn,
    };
    await updateCredentialRow(tx, credential.id, to);
    await recordAudit(tx, {
      ...auditedBy(caller),
      action: 'credential.updated',
      object: { kind: 'credential', id: credential.id },
      scope: { segmentId: credential.segmentId },
      detail: { name: credential.name, segment: credential.segmentName, expiresOn: to.expiresOn },
    });
  });
  return getCredential(sql, id, unrestricted);
}

/**
 * Deletes a credential with all its versions.
 *
 * @throws {AppError} `not_found`; `forbidden` without `credentials.edit` on its segment; `conflict` while targets,
 * target groups or the segment use it, saying how many.
 */
export async function deleteCredential(sql: Sql, id: string, caller: Caller): Promise<void> {
  await inTransaction(sql, async (tx) => {
    const credential = await lockCredential(tx, id);
    if (credential === undefined || !caller.authority.holdsOnSegment('read', credential.segmentId)) {
      throw notFound('Credential');
    }
    requireEdit(caller, credential.segmentId, credential.segmentName);
    const { targetCount, name } = credential;
    if (targetCount > 0) {
      const users = targetCount === 1 ? '1 target uses' : `${targetCount} targets use`;
      throw new AppError('conflict', `${users} ${name}. Give them another credential, then delete this one.`);
    }
    await refuseInherited(tx, credential);
    await deleteCredentialRow(tx, id);
    await recordAudit(tx, {
      ...auditedBy(caller),
      action: 'credential.deleted',
      object: { kind: 'credential', id: credential.id },
      scope: { segmentId: credential.segmentId },
      detail: { name, kind: credential.kind, segment: credential.segmentName },
    });
  });
}

function requireEdit(caller: Caller, segmentId: number, segmentName: string): void {
  if (caller.authority.holdsOnSegment('credentials.edit', segmentId)) return;
  throw new MissingPermission(caller, 'credentials.edit', `segment “${segmentName}”`);
}

async function refuseInherited(tx: Tx, credential: { id: string; name: string }): Promise<void> {
  const { groups, segment } = await usesOfCredential(tx, credential.id);
  if (groups === 0 && !segment) return;
  const givers = [
    ...(groups === 0 ? [] : [groups === 1 ? '1 target group' : `${groups} target groups`]),
    ...(segment ? ['its segment'] : []),
  ].join(' and ');
  throw new AppError(
    'conflict',
    `${credential.name} is given to targets by ${givers}. Choose another credential there, then delete this one.`,
  );
}

function requireCurrentGeneration(segment: SegmentRow, generation: number): void {
  if (segment.keyGeneration === 0) {
    throw new AppError(
      'conflict',
      `Segment ${segment.name} has no agent yet, so there is no key to seal to. Enroll its first agent.`,
    );
  }
  refuseWhileRotating(segment);
  if (generation !== segment.keyGeneration) {
    const message = `Sealed to generation ${generation} of the segment key; the current one is ${segment.keyGeneration}. Fetch the sealing key again and seal the credential to it.`;
    throw new AppError('conflict', message, { details: [{ path: 'sealed.generation', message }] });
  }
}

function requireDay(expiresOn: string | null | undefined): void {
  if (expiresOn === null || expiresOn === undefined || isCalendarDate(expiresOn)) return;
  throw invalidField('expiresOn', `There is no ${expiresOn}; write a day such as 2027-01-31.`, {
    found: expiresOn,
    allowed: 'a day such as 2027-01-31',
  });
}

/** @throws {AppError} `invalid`, naming the part that is wrong. The message never repeats its contents. */
function requireSealForm(sealed: SealedCredential): void {
  requireBytes('sealed.enc', sealed.enc, encBytes);
  requireBytes('sealed.wrappedKey', sealed.wrappedKey, wrappedKeyBytes);
  requireBytes('sealed.nonce', sealed.nonce, nonceBytes);
  const length = requireBytes('sealed.ciphertext', sealed.ciphertext);
  const whole = length > tagBytes && (length - tagBytes) % blockBytes === 0 && length <= maxCiphertextBytes;
  if (!whole) throw invalidField('sealed.ciphertext', 'The sealed credential has a length that no seal has.');
}

function requireBytes(path: string, text: string, expected?: number): number {
  try {
    return decodeBase64(text, expected, path).length;
  } catch (cause) {
    if (!(cause instanceof SealingError)) throw cause;
    throw new AppError('invalid', `${cause.message}.`, {
      cause,
      details: [{ path, message: `${cause.message}.` }],
    });
  }
}

/** Keeps only the parts of a seal, without anything else that the client sent with them. */
function pick({ v, generation, enc, wrappedKey, nonce, ciphertext }: SealedCredential): SealedCredential {
  return { v, generation, enc, wrappedKey, nonce, ciphertext };
}

function takenError(error: unknown, name: string): unknown {
  const constraint = violatedConstraint(error);
  if (constraint === 'credentials_segment_id_name_key') {
    const message = `There is a credential named ${name} in this segment already; choose another name.`;
    return new AppError('conflict', message, { cause: error, details: [{ path: 'name', message }] });
  }
  if (constraint === 'credentials_pkey') {
    const message =
      'There is a credential with this id already. Choose a new id and seal again: the seal is bound to the id.';
    return new AppError('conflict', message, { cause: error, details: [{ path: 'id', message }] });
  }
  return error;
}
