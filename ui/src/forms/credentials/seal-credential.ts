// Seals a credential in this browser, to the key that the segment's signed roster names. Only the sealed secret is
// sent.
import { type CredentialSecret, sealCredential } from '@opsconductor/protocol/sealing';
import { createCredential, replaceCredential } from '../../api/agents/credentials.ts';
import { fetchVerifiedKey } from '../verified-key.ts';

/**
 * Checks the roster, then seals and saves a new credential or the next version of an existing one. Returns its id.
 *
 * @throws {ApiError} `untrusted` if the roster isn't signed by the root, or names another key
 */
export async function saveSealed(credential: {
  segmentId: number;
  name: string;
  /** `undefined`: stays as it is. */
  description: string | undefined;
  /** Last day on which the secret is valid. */
  expiresOn: string | null;
  secret: CredentialSecret;
  /** The credential that gets a new secret, and its current version. */
  replacing?: { id: string; version: number } | undefined;
}): Promise<string> {
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
    return id;
  }
  await createCredential({
    id,
    segmentId: credential.segmentId,
    name: credential.name,
    ...beside,
    kind: credential.secret.kind,
    sealed,
  });
  return id;
}
