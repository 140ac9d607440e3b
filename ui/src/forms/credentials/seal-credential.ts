// Seals a credential in this browser, to the key that the segment's signed roster names. Only the seal is sent.
import { type CredentialSecret, sealCredential } from '@opsconductor/protocol/sealing';
import { createCredential, replaceCredential } from '../../api/agents/credentials.ts';
import { fetchVerifiedKey } from '../verified-key.ts';

/**
 * Checks the roster, seals and saves a new credential, or the next version of one that is there.
 *
 * @throws {SealingError} when the roster is not the root's, or the key not the one that it names.
 */
export async function saveSealed(credential: {
  segmentId: number;
  name: string;
  description: string;
  /** The last day on which the secret is good. */
  expiresOn: string | null;
  secret: CredentialSecret;
  /** Whose secret it takes the place of. */
  replacing?: { id: string; version: number } | undefined;
}): Promise<void> {
  const key = await fetchVerifiedKey(credential.segmentId);
  const { replacing, description, expiresOn } = credential;
  const beside = { description, expiresOn };
  const id = replacing?.id ?? crypto.randomUUID();
  const version = (replacing?.version ?? 0) + 1;
  const sealed = await sealCredential({
    segmentPublicKey: key.segmentPublicKey,
    binding: {
      installationId: key.installationId,
      credentialId: id,
      version,
      kind: credential.secret.kind,
      segmentId: key.segmentId,
      generation: key.generation,
    },
    secret: credential.secret,
  });
  if (replacing !== undefined) {
    await replaceCredential(id, { version, ...beside, sealed });
    return;
  }
  await createCredential({
    id,
    segmentId: credential.segmentId,
    name: credential.name,
    ...beside,
    kind: credential.secret.kind,
    sealed,
  });
}
