// Seals a credential as console and CLI do, and stores it: the server sees only the sealed form.
import { randomUUID } from 'node:crypto';
import type { SealingKey } from '@opsconductor/protocol';
import {
  type CredentialSecret,
  decodeBase64,
  type SealedCredential,
  sealCredential,
} from '@opsconductor/protocol/sealing';
import type { ApiClient } from './api-client.ts';
import type { SshdFixture } from './sshd.ts';

/** Returns the credential's id. */
export async function storeCredential(
  api: ApiClient,
  segmentId: number,
  name: string,
  secret: CredentialSecret,
): Promise<string> {
  const key = (await api.get<SealingKey>(`/api/v1/segments/${segmentId}/sealing-key`)).body;
  const credential = await sealSecret(key, secret);
  await api.made('/api/v1/credentials', { segmentId, name, ...credential });
  return credential.id;
}

/** Seals a secret as a new credential, or as the next version of one. */
export async function sealSecret<S extends CredentialSecret>(
  key: SealingKey,
  secret: S,
  { id, version }: { id: string; version: number } = { id: randomUUID(), version: 1 },
): Promise<{ id: string; kind: S['kind']; sealed: SealedCredential }> {
  const { installationId, segmentId, generation } = key;
  const { kind } = secret;
  const sealed = await sealCredential({
    segmentPublicKey: decodeBase64(key.publicKey),
    binding: { installationId, credentialId: id, version, kind, segmentId, generation },
    secret,
  });
  return { id, kind, sealed };
}

/** Returns the key that opens an SSH server, for that server only unless other hosts or ports are given. */
export function privateKeySecret(
  { host, port, user, privateKey }: Pick<SshdFixture, 'host' | 'port' | 'user' | 'privateKey'>,
  { hosts = [host], ports = [port] }: { hosts?: string[]; ports?: number[] } = {},
) {
  return {
    kind: 'ssh_private_key' as const,
    user,
    privateKey,
    bounds: {
      hosts,
      networks: [],
      ports,
      protocols: ['ssh' as const],
      user,
      authentication: ['publickey' as const],
    },
  };
}

/** Returns a password for port 22 of every host. */
export function passwordSecret(user: string, password: string) {
  return {
    kind: 'ssh_password' as const,
    user,
    password,
    bounds: {
      hosts: ['*'],
      networks: [],
      ports: [22],
      protocols: ['ssh' as const],
      user,
      authentication: ['password' as const],
    },
  };
}
