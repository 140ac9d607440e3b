// Seals a credential in this browser, to the key that the segment's signed roster names. Only the seal is sent.
import {
  type CredentialSecret,
  decodeBase64,
  rosterSegmentKey,
  SealingError,
  sealCredential,
  verifyRoster,
} from '@opsconductor/protocol/sealing';
import { createCredential, replaceCredential } from '../api/credentials.ts';
import { fetchSealingKey } from '../api/segments.ts';

/**
 * Checks the roster, seals and saves a new credential, or the next version of one that is there.
 *
 * @throws {SealingError} when the roster is not the root's, or the key not the one that it names.
 */
export async function saveSealed(credential: {
  segmentId: number;
  name: string;
  description: string;
  secret: CredentialSecret;
  /** Whose secret it takes the place of. */
  replacing?: { id: string; version: number } | undefined;
}): Promise<void> {
  const key = await fetchSealingKey(credential.segmentId);
  const roster = await verifyRoster(decodeBase64(key.rootPublicKey), key.roster, {
    installationId: key.installationId,
    segmentId: credential.segmentId,
    minNumber: 0,
  });
  const segmentPublicKey = rosterSegmentKey(roster);
  if (segmentPublicKey === undefined || roster.currentGeneration !== key.generation) {
    throw new SealingError('key_mismatch', 'The server offered another key than the segment’s roster names');
  }
  const { replacing } = credential;
  const id = replacing?.id ?? crypto.randomUUID();
  const version = (replacing?.version ?? 0) + 1;
  const sealed = await sealCredential({
    segmentPublicKey,
    binding: {
      installationId: key.installationId,
      credentialId: id,
      version,
      kind: credential.secret.kind,
      segmentId: credential.segmentId,
      generation: key.generation,
    },
    secret: credential.secret,
  });
  if (replacing !== undefined) {
    await replaceCredential(id, { version, description: credential.description, sealed });
    return;
  }
  await createCredential({
    id,
    segmentId: credential.segmentId,
    name: credential.name,
    description: credential.description,
    kind: credential.secret.kind,
    sealed,
  });
}
