import type { SealingKey } from '@opsconductor/protocol';
import { encodeBase64 } from '@opsconductor/protocol/sealing';
import type { Caller } from '../../caller.ts';
import { AppError } from '../../errors.ts';
import { listSegmentKeys, type SegmentRow } from '../../store/agents/segments.ts';
import type { Queryable } from '../../store/database/connection.ts';
import { segmentFor } from '../segment-for.ts';

/**
 * Returns the key that a client seals a credential to, and what it needs to verify that key.
 * @throws {AppError} `not_found`; `forbidden` without `credentials.edit` on the segment; `conflict` before its first
 * agent has made the key.
 */
export async function sealingKeyOf(
  sql: Queryable,
  installationId: string,
  segmentId: number,
  caller: Pick<Caller, 'name' | 'authority'>,
): Promise<SealingKey> {
  const segment = await segmentFor(sql, segmentId, 'credentials.edit', caller);
  const key = (await listSegmentKeys(sql, segmentId)).at(-1);
  if (key === undefined || segment.rosterPayload === null || segment.rosterSignature === null) {
    throw new AppError(
      'conflict',
      segment.rootMode === 'owner_held'
        ? `Segment ${segment.name} has no roster yet, so there is no key to seal to. Enroll its first agent; then its owner signs the roster.`
        : `Segment ${segment.name} has no agent yet, so there is no key to seal to. Enroll its first agent.`,
    );
  }
  refuseWhileRotating(segment);
  return {
    installationId,
    segmentId,
    generation: key.generation,
    publicKey: encodeBase64(key.publicKey),
    rootPublicKey: encodeBase64(segment.rootKey),
    roster: { payload: segment.rosterPayload, signature: segment.rosterSignature },
  };
}

/**
 * Refuses to seal while a revoked agent has the current generation: sealing must wait for the next one.
 * @throws {AppError} `conflict`.
 */
export function refuseWhileRotating(segment: Pick<SegmentRow, 'name' | 'keyRotationWantedAt'>): void {
  if (segment.keyRotationWantedAt === null) return;
  throw new AppError(
    'conflict',
    `The key of segment ${segment.name} is being replaced, because an agent that has it was revoked. The next agent of the segment that connects makes the new one; if an owner holds the root, they must also name it in a roster. Seal after that.`,
  );
}
