// Seals a credential as console and CLI do, and stores it: the server sees only the sealed form.
import { randomUUID } from 'node:crypto';
import type { SealingKey } from '@opsconductor/protocol';
import { type CredentialSecret, decodeBase64, sealCredential } from '@opsconductor/protocol/sealing';
import type { ApiClient } from './api-client.ts';

/** Returns the credential's id. */
export async function storeCredential(
  api: ApiClient,
  segmentId: number,
  name: string,
  secret: CredentialSecret,
): Promise<string> {
  const key = (await api.get<SealingKey>(`/api/v1/segments/${segmentId}/sealing-key`)).body;
  const id = randomUUID();
  const { kind } = secret;
  const sealed = await sealCredential({
    segmentPublicKey: decodeBase64(key.publicKey),
    binding: {
      installationId: key.installationId,
      credentialId: id,
      version: 1,
      kind,
      segmentId,
      generation: key.generation,
    },
    secret,
  });
  await api.made('/api/v1/credentials', { id, segmentId, name, kind, sealed });
  return id;
}
