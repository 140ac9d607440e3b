import {
  encodeBase64,
  generateEncryptionKeyPair,
  generateSegmentKey,
  type Roster,
  wrapSegmentKey,
} from '@opsconductor/protocol/sealing';
import { expect, test } from 'vitest';
import type { Api } from '../../start-run/api-client.ts';
import type { OwnedState } from '../segments/owned-segment.ts';
import { openGenerations } from './recover-segment.ts';

test('a generation opens by any wrap that is good, whatever other agents have stored before it', async () => {
  const recovery = await generateEncryptionKeyPair();
  const [segmentKey, other] = [await generateSegmentKey(), await generateSegmentKey()];
  const installationId = '00000000-0000-4000-8000-000000000001';
  const about = { installationId, segmentId: 3, generation: 1, recipient: 'recovery' } as const;
  const wrapOf = async ({ privateKey, publicKey }: typeof segmentKey) => ({
    generation: 1,
    wrapped: await wrapSegmentKey({
      segmentPrivateKey: privateKey,
      recipientPublicKey: recovery.publicKey,
      binding: { ...about, segmentPublicKey: publicKey },
    }),
  });
  const useless = [{ generation: 1, wrapped: Buffer.alloc(81, 1).toString('base64') }, await wrapOf(other)];
  const roster = {
    ...{ installationId, segmentId: 3, number: 1, currentGeneration: 1, agents: [], revoked: [] },
    segmentKeys: [{ generation: 1, publicKey: encodeBase64(segmentKey.publicKey) }],
    recoveryKey: encodeBase64(recovery.publicKey),
  } as unknown as Roster;
  const open = async (wraps: object[]) => {
    const api = { get: async () => ({ recoveryKey: roster.recoveryKey, wraps }) } as unknown as Api;
    const owned = { known: { segmentId: 3, segmentName: 'dmz' }, roster } as unknown as OwnedState;
    const [opened] = await openGenerations(api, owned, { ...recovery, purpose: 'recovery' } as never);
    return opened;
  };
  expect(await open(useless)).toMatchObject({
    privateKey: undefined,
    said: expect.stringMatching(/^does not open: /),
  });
  expect(await open([...useless, await wrapOf(segmentKey)])).toMatchObject({
    privateKey: segmentKey.privateKey,
    said: 'opens, and is the key that the roster names',
  });
});
