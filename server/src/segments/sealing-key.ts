import type { SealingKey } from '@opsconductor/protocol';
import { encodeBase64 } from '@opsconductor/protocol/sealing';
import type { Caller } from '../caller.ts';
import { AppError } from '../errors.ts';
import type { Queryable } from '../store/connection.ts';
import { listSegmentKeys } from '../store/segments.ts';
import { segmentFor } from './segment-for.ts';

/**
 * What a client seals a credential to, and what it verifies that with.
 *
 * @throws {AppError} `not_found`; `forbidden` without `credentials.edit` on the segment; `conflict` before its first
 * agent made its key.
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
