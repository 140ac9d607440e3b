// Fetches and verifies the key that a segment's secrets are sealed to, as named by its signed roster.
import type { SealingKey } from '@opsconductor/protocol';
import { decodeBase64, rosterSegmentKey, SealingError, verifyRoster } from '@opsconductor/protocol/sealing';
import { fetchSealingKey } from '../api/agents/segments.ts';
import { ApiError } from '../api/client.ts';

export interface VerifiedKey {
  installationId: string;
  segmentId: number;
  generation: number;
  segmentPublicKey: Uint8Array;
}

/** @throws {ApiError} `untrusted` if the roster isn't signed by the root, or names another key */
export async function fetchVerifiedKey(segmentId: number): Promise<VerifiedKey> {
  return verifiedKey({ ...(await fetchSealingKey(segmentId)), segmentId });
}

/**
 * Checks a sealing key against its roster.
 * @throws {ApiError} `untrusted`
 */
export async function verifiedKey(key: SealingKey): Promise<VerifiedKey> {
  try {
    return await verified(key);
  } catch (error) {
    if (!(error instanceof SealingError)) throw error;
    throw new ApiError('untrusted', `${error.message}.`, { cause: error });
  }
}

async function verified(key: SealingKey): Promise<VerifiedKey> {
  const { segmentId } = key;
  const roster = await verifyRoster(decodeBase64(key.rootPublicKey), key.roster, {
    installationId: key.installationId,
    segmentId,
    minNumber: 0,
  });
  const segmentPublicKey = rosterSegmentKey(roster);
  if (segmentPublicKey === undefined || roster.currentGeneration !== key.generation) {
    throw new SealingError(
      'key_mismatch',
      'The server offered a different key from the one that the segment’s roster names',
    );
  }
  const { installationId, generation } = key;
  return { installationId, segmentId, generation, segmentPublicKey };
}
