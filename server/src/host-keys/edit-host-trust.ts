// Host certificate authorities of a segment, and keys that are revoked there.
import { type CreateHostTrustRequest, type HostTrust, limits } from '@opsconductor/protocol';
import { recordAudit } from '../audit/record-audit.ts';
import { auditedBy, type Caller } from '../caller.ts';
import { AppError, invalidField } from '../errors.ts';
import { segmentFor } from '../segments/segment-for.ts';
import type { Queryable, Sql, Tx } from '../store/database/connection.ts';
import { inTransaction } from '../store/database/transaction.ts';
import { deleteAcceptedInSegment } from '../store/host-keys/host-keys.ts';
import {
  deleteHostTrust,
  type HostTrustRow,
  insertHostTrust,
  listHostTrust,
  lockHostTrust,
} from '../store/host-keys/host-trust.ts';
import { parseHostKeyLine } from '../targets/host-key-line.ts';

const keyTypes = /^(ssh-ed25519|ecdsa-sha2-nistp(256|384|521)|ssh-rsa)$/;

/** @throws {AppError} `not_found`. */
export async function listTrust(
  sql: Queryable,
  segmentId: number,
  caller: Pick<Caller, 'name' | 'authority'>,
): Promise<{ items: HostTrust[]; nextCursor: null }> {
  await segmentFor(sql, segmentId, 'read', caller);
  return { items: (await listHostTrust(sql, segmentId)).map(toTrust), nextCursor: null };
}

/**
 * Trusts an authority in a segment, or revokes a key there. A revoked key is no longer accepted for any target of the
 * segment.
 * @throws {AppError} `not_found`; `forbidden`; `invalid` for something that is not a public key; `conflict` for an
 * entry that already exists, or more entries than agents can be told.
 */
export async function addTrust(
  sql: Sql,
  segmentId: number,
  { kind, publicKey, hosts, note = '' }: CreateHostTrustRequest,
  caller: Caller,
): Promise<HostTrust> {
  await segmentFor(sql, segmentId, 'host_keys.approve', caller);
  const key = parseHostKeyLine(publicKey);
  if (key === undefined || !keyTypes.test(key.keyType)) {
    throw invalidField('publicKey', 'This is not an OpenSSH public key. Paste the line of a .pub file.', {
      found: publicKey.slice(0, 40),
      allowed: 'ssh-ed25519, ecdsa-sha2-nistp256, -384, -521 or ssh-rsa, and the key in base64',
    });
  }
  if (kind === 'revoked' && hosts !== undefined && hosts !== '*') {
    throw invalidField('hosts', 'A key is revoked for every host of the segment; leave hosts out.');
  }
  return inTransaction(sql, async (tx) => {
    await lockHostTrust(tx, segmentId);
    const entry = { kind, hosts: hosts ?? '*', keyType: key.keyType, fingerprint: key.fingerprint, note };
    const added = await addTrustIn(tx, segmentId, { ...entry, publicKey: key.line }, caller);
    if (!added) {
      const what = kind === 'authority' ? 'trusted for these hosts' : 'revoked';
      throw new AppError('conflict', `The key ${key.fingerprint} is already ${what} in this segment.`);
    }
    const row = (await listHostTrust(tx, segmentId)).find(
      (one) => one.kind === kind && one.fingerprint === key.fingerprint && one.hosts === entry.hosts,
    );
    if (row === undefined) throw new Error('what was inserted is gone');
    return toTrust(row);
  });
}

/** The same within a transaction that has locked the segment's trust. Returns false if the entry already exists. */
export async function addTrustIn(
  tx: Tx,
  segmentId: number,
  entry: Pick<HostTrust, 'kind' | 'hosts' | 'keyType' | 'fingerprint' | 'publicKey' | 'note'>,
  caller: Caller,
): Promise<boolean> {
  const before = (await listHostTrust(tx, segmentId)).filter((row) => row.kind === entry.kind);
  if (!(await insertHostTrust(tx, { ...entry, segmentId, createdBy: caller.userId }))) return false;
  const limit =
    entry.kind === 'authority' ? limits.maxHostAuthoritiesPerSegment : limits.maxRevokedHostKeysPerSegment;
  if (before.length >= limit) {
    const what = entry.kind === 'authority' ? 'host authorities' : 'revoked host keys';
    throw new AppError(
      'conflict',
      `A segment may have ${limit} ${what}. Remove one that is not needed first.`,
    );
  }
  const forgotten =
    entry.kind === 'revoked' ? await deleteAcceptedInSegment(tx, segmentId, entry.fingerprint) : [];
  const { kind, hosts, fingerprint, note } = entry;
  await recordAudit(tx, {
    ...auditedBy(caller),
    action: kind === 'authority' ? 'host_authority.trusted' : 'host_key.revoked',
    object: { kind: 'segment', id: segmentId },
    detail: {
      fingerprint,
      note,
      ...(kind === 'authority'
        ? { hosts }
        : { forgottenFor: forgotten.slice(0, 100).map(({ name }) => name) }),
    },
    scope: { segmentId },
  });
  return true;
}

/** @throws {AppError} `not_found`; `forbidden`; `conflict` for an entry that no longer exists. */
export async function removeTrust(sql: Sql, segmentId: number, id: number, caller: Caller): Promise<void> {
  await inTransaction(sql, async (tx) => {
    await segmentFor(tx, segmentId, 'host_keys.approve', caller);
    await lockHostTrust(tx, segmentId);
    const gone = await deleteHostTrust(tx, segmentId, id);
    if (gone === undefined) {
      throw new AppError(
        'conflict',
        'The segment has no such host authority or revoked key any more; look again.',
      );
    }
    const { kind, ...detail } = gone;
    await recordAudit(tx, {
      ...auditedBy(caller),
      action: kind === 'authority' ? 'host_authority.removed' : 'host_key.unrevoked',
      object: { kind: 'segment', id: segmentId },
      detail,
      scope: { segmentId },
    });
  });
}

function toTrust({ createdAt, createdByName, ...row }: HostTrustRow): HostTrust {
  return { ...row, createdAt: createdAt.toISOString(), createdBy: createdByName };
}
