import type { SealingKey } from '@opsconductor/protocol';
import {
  encodeBase64,
  generateEncryptionKeyPair,
  generateSigningKeyPair,
  signRoster,
} from '@opsconductor/protocol/sealing';
import { expect, test } from 'vitest';
import { adviceFor } from '../ui/errors/error-advice.ts';
import { verifiedKey } from './verified-key.ts';

test('a key that the root has not signed is told apart from a temporary failure: nothing is sealed, and nothing retried', async () => {
  const [root, other, agent] = [
    await generateSigningKeyPair(),
    await generateSigningKeyPair(),
    await generateSigningKeyPair(),
  ];
  const [segment, forAgent] = [await generateEncryptionKeyPair(), await generateEncryptionKeyPair()];
  const roster = await signRoster(root.privateKey, {
    installationId: 'inst-1',
    segmentId: 7,
    number: 5,
    agents: [
      {
        agentId: 41,
        name: 'edge-a',
        signingKey: encodeBase64(agent.publicKey),
        encryptionKey: encodeBase64(forAgent.publicKey),
      },
    ],
    segmentKeys: [{ generation: 1, publicKey: encodeBase64(segment.publicKey) }],
    currentGeneration: 1,
    revoked: [],
  });
  const key = (rootPublicKey: Uint8Array, generation = 1): SealingKey => ({
    installationId: 'inst-1',
    segmentId: 7,
    generation,
    publicKey: encodeBase64(segment.publicKey),
    rootPublicKey: encodeBase64(rootPublicKey),
    roster,
  });
  expect((await verifiedKey(key(root.publicKey))).segmentPublicKey).toEqual(segment.publicKey);
  for (const untrusted of [key(other.publicKey), key(root.publicKey, 2)]) {
    const error = await verifiedKey(untrusted).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'untrusted', mayBeDone: false });
    const advice = adviceFor(error as Parameters<typeof adviceFor>[0]);
    expect(advice).toContain('Don’t try again');
    expect(advice).not.toContain('request id');
  }
});
