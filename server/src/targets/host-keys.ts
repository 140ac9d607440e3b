// Which host keys of a target are trusted. A key is accepted by a person or by a fingerprint given in advance, never
// because it was seen first.
import { recordAudit } from '../audit/record-audit.ts';
import { auditedBy, type Caller } from '../caller.ts';
import { AppError, notFound } from '../errors.ts';
import type { Queryable, Tx } from '../store/database/connection.ts';
import {
  acceptOnly,
  completeAcceptedKey,
  type HostKeyRow,
  insertGivenFingerprint,
  listAcceptedLines,
  listHostKeys,
  replaceOfferedKey,
} from '../store/host-keys/host-keys.ts';
import { lockHostTrust, revokedAmong } from '../store/host-keys/host-trust.ts';
import { unrestricted } from '../store/people/visibility.ts';
import { forgetKeyRefusals } from '../store/targets/target-contacts.ts';
import { lockTarget } from '../store/targets/targets.ts';
import { parseHostKeyLine } from './host-key-line.ts';
import { requireOnTarget } from './require-on-target.ts';

export type SeenHostKey = {
  fingerprint: string;
  state: HostKeyRow['state'];
  /** Whether this key was not known in this state before. */
  isNews: boolean;
};

/**
 * Records the host key that a connection to a target showed: pending if nothing is accepted yet, changed if another key
 * is. A fingerprint that was accepted in advance gets its key.
 * @param seen.segmentId The agent's segment, if the agent reports the key unasked: it can't speak for other segments'
 * targets.
 * @returns undefined for a target that is gone or elsewhere, or a line that is not a public key.
 */
export async function recordSeenHostKey(
  tx: Tx,
  seen: { targetId: number; hostKeyLine: string; segmentId?: number },
): Promise<SeenHostKey | undefined> {
  const key = parseHostKeyLine(seen.hostKeyLine);
  if (key === undefined) return undefined;
  const target = await lockTarget(tx, seen.targetId, unrestricted);
  if (target === undefined) return undefined;
  if (seen.segmentId !== undefined && seen.segmentId !== target.segmentId) return undefined;
  const { fingerprint, keyType, line } = key;
  const known = await listHostKeys(tx, [target.id]);
  const same = known.find((row) => row.fingerprint === fingerprint);
  const shown = { targetId: target.id, fingerprint, keyType, publicKey: line };
  if (same?.state === 'accepted') {
    await completeAcceptedKey(tx, shown);
    return { fingerprint, state: 'accepted', isNews: same.publicKey === null };
  }
  const accepted = known.filter((row) => row.state === 'accepted');
  const state = accepted.length === 0 ? 'pending' : 'changed';
  const { replacesRecent } = await replaceOfferedKey(tx, { ...shown, state });
  const isNews = same?.state !== state;
  // Whoever shows or reports one key after the other must not fill the log: the first one is in it.
  if (isNews && state === 'changed' && !replacesRecent) {
    await recordAudit(tx, {
      actor: { kind: 'system', name: 'server' },
      action: 'host_key.changed',
      object: { kind: 'target', id: target.id },
      detail: { target: target.name, offered: fingerprint, accepted: accepted.map((row) => row.fingerprint) },
      scope: { segmentId: target.segmentId },
    });
  }
  return { fingerprint, state, isNews };
}

/**
 * Accepts the host key that a target showed last, as a person has seen it.
 * @param keys.replaces The currently accepted fingerprint, if a changed key should replace it; everything accepted
 * before is then removed.
 * @throws {AppError} `not_found`; `forbidden`; `conflict` if what the target shows, or what is accepted, is not what
 * the person saw, and for a key that is revoked in the segment.
 */
export async function acceptHostKey(
  tx: Tx,
  targetId: number,
  keys: { fingerprint: string; replaces?: string },
  caller: Caller,
): Promise<void> {
  const target = await lockTarget(tx, targetId, caller.authority.reach('read'));
  if (target === undefined) throw notFound('Target');
  await requireOnTarget(tx, caller, 'host_keys.approve', target);
  const known = await listHostKeys(tx, [targetId]);
  const accepted = known.filter((row) => row.state === 'accepted').map((row) => row.fingerprint);
  if (accepted.includes(keys.fingerprint) && keys.replaces === undefined) return;
  requireSeen(known, keys.fingerprint, target.name);
  await refuseRevoked(tx, {
    segmentId: target.segmentId,
    fingerprint: keys.fingerprint,
    path: 'fingerprint',
  });
  requireReplaced(accepted, keys.replaces, target.name);
  await acceptOnly(tx, { targetId, fingerprint: keys.fingerprint, acceptedBy: caller.userId });
  await forgetKeyRefusals(tx, [targetId]);
  await recordAudit(tx, {
    ...auditedBy(caller),
    action: 'host_key.accepted',
    object: { kind: 'target', id: targetId },
    detail: { target: target.name, fingerprint: keys.fingerprint, replaced: accepted },
    scope: { segmentId: target.segmentId },
  });
}

/**
 * Accepts a fingerprint that the caller knows from elsewhere, for a new target. The caller's right to do so in the
 * segment was checked.
 * @throws {AppError} `conflict` for a fingerprint that is revoked in the segment.
 */
export async function acceptGivenKey(
  tx: Tx,
  target: { id: number; name: string; segmentId: number },
  fingerprint: string,
  caller: Caller,
): Promise<void> {
  const { id, name, segmentId } = target;
  await refuseRevoked(tx, { segmentId, fingerprint, path: 'hostKeyFingerprint' });
  await insertGivenFingerprint(tx, { targetId: id, fingerprint, acceptedBy: caller.userId });
  await recordAudit(tx, {
    ...auditedBy(caller),
    action: 'host_key.accepted',
    object: { kind: 'target', id },
    detail: { target: name, fingerprint, replaced: [], source: 'given' },
    scope: { segmentId },
  });
}

async function refuseRevoked(
  tx: Tx,
  { segmentId, fingerprint, path }: { segmentId: number; fingerprint: string; path: string },
): Promise<void> {
  await lockHostTrust(tx, segmentId);
  if ((await revokedAmong(tx, [{ segmentId, fingerprint }])).size === 0) return;
  throw keyConflict(
    path,
    `The key ${fingerprint} is revoked in this segment, so it can’t be accepted for any target there. Give the host another key.`,
  );
}

function requireSeen(known: readonly HostKeyRow[], fingerprint: string, name: string): void {
  if (known.some((row) => row.fingerprint === fingerprint && row.state !== 'accepted')) return;
  const offered = known.find((row) => row.state !== 'accepted');
  throw keyConflict(
    'fingerprint',
    offered === undefined
      ? `${name} has shown no key that waits for approval, so ${fingerprint} can’t be accepted. Test the connection first.`
      : `${name} does not show the key ${fingerprint}. It now shows ${offered.fingerprint}; compare that one.`,
  );
}

function requireReplaced(accepted: readonly string[], replaces: string | undefined, name: string): void {
  if (accepted.length === 0 && replaces === undefined) return;
  if (replaces !== undefined && accepted.includes(replaces)) return;
  const now = accepted.length === 0 ? 'none is accepted' : `${accepted.join(', ')} is accepted`;
  const message =
    replaces === undefined
      ? `Another key of ${name} is accepted: ${accepted.join(', ')}. Name it in replaces to put this one in its place.`
      : `The key to replace, ${replaces}, is not accepted for ${name}; now ${now}. Look again before you replace it.`;
  throw keyConflict('replaces', message);
}

function keyConflict(path: string, message: string): AppError {
  return new AppError('conflict', message, { details: [{ path, message }] });
}

/**
 * Returns the accepted host keys of targets as agents are given them: OpenSSH lines or fingerprints. A target without
 * any has an empty list.
 */
export async function hostKeyLinesOf(
  sql: Queryable,
  targetIds: readonly number[],
): Promise<Map<number, string[]>> {
  const lines = new Map<number, string[]>(targetIds.map((id) => [id, []]));
  for (const row of await listAcceptedLines(sql, targetIds)) lines.get(row.targetId)?.push(row.line);
  return lines;
}
