import type { SealingKey } from '@opsconductor/protocol';
import { encodeBase64 } from '@opsconductor/protocol/sealing';
import { AppError, notFound } from '../errors.ts';
import type { Queryable } from '../store/connection.ts';
import { findSegment, listSegmentKeys } from '../store/segments.ts';

/**
 * What a client seals a credential to, and what it verifies that with.
 *
 * @throws {AppError} `conflict` before the segment's first agent made its key.
 */
export async function sealingKeyOf(
  sql: Queryable,
  installationId: string,
  segmentId: number,
): Promise<SealingKey> {
  const segment = await findSegment(sql, segmentId);
  if (segment === undefined) throw notFound('Segment');
  const key = (await listSegmentKeys(sql, segmentId)).at(-1);
  if (key === undefined || segment.rosterPayload === null || segment.rosterSignature === null) {
    throw new AppError(
      'conflict',
      `Segment ${segment.name} has no agent yet, so there is no key to seal to. Enroll its first agent.`,
    );
  }
  return {
    installationId,
    segmentId,
    generation: key.generation,
    publicKey: encodeBase64(key.publicKey),
    rootPublicKey: encodeBase64(segment.rootKey),
    roster: { payload: segment.rosterPayload, signature: segment.rosterSignature },
  };
}
