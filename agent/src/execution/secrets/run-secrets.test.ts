import { randomUUID } from 'node:crypto';
import type { LeaseRendering, LeaseSecret } from '@opsconductor/protocol';
import { generateSegmentKey, sealRunValue } from '@opsconductor/protocol/sealing';
import { expect, test } from 'vitest';
import { NoSegmentKey } from './credential-opener.ts';
import { RunSecrets, UnopenableSecret } from './run-secrets.ts';

const installationId = 'installation-1';
const segmentId = 3;
const jobId = 7;

async function setup() {
  const segment = await generateSegmentKey();
  const clock = { ms: 0 };
  const generations = new Set([1]);
  const asked: number[] = [];
  const secrets = new RunSecrets({
    installationId,
    segmentId,
    segmentPrivateKey: (generation) => {
      asked.push(generation);
      return generations.has(generation) ? segment.privateKey : undefined;
    },
    newestKey: () => undefined,
    monotonicMs: () => clock.ms,
  });
  const seal = async (value: string): Promise<LeaseSecret> => {
    const id = randomUUID();
    const binding = { installationId, jobId, id, step: '', name: 'token', segmentId, generation: 1 };
    const sealed = await sealRunValue({ segmentPublicKey: segment.publicKey, binding, value });
    return { name: 'token', id, sealed };
  };
  const open = (...sealed: LeaseSecret[]) =>
    secrets.open({ values: { job: { id: jobId } }, secrets: sealed } as unknown as LeaseRendering);
  return { clock, generations, asked, seal, open };
}

test('a secret that many leases bring at once is opened once, and they share its patterns', async () => {
  const t = await setup();
  const secret = await t.seal('open sesame');
  const all = await Promise.all(Array.from({ length: 50 }, () => t.open(secret)));
  expect(t.asked).toHaveLength(1);
  expect(all[0]).toMatchObject([{ step: undefined, name: 'token', value: 'open sesame' }]);
  for (const [opened] of all) expect(opened?.patterns).toBe(all[0]?.[0]?.patterns);
  await t.open(secret);
  t.clock.ms = 300_001;
  await t.open(secret);
  expect(t.asked).toHaveLength(2);
});

test('a secret that could not be opened is tried again, and a swapped seal is not answered from what was opened', async () => {
  const t = await setup();
  const secret = await t.seal('open sesame');
  t.generations.clear();
  const tries = await Promise.allSettled([t.open(secret), t.open(secret)]);
  for (const each of tries) expect(each).toMatchObject({ reason: expect.any(NoSegmentKey) });
  t.generations.add(1);
  expect(await t.open(secret)).toMatchObject([{ value: 'open sesame' }]);
  const { sealed: other } = await t.seal('of another');
  t.generations.add(2);
  for (const swapped of [
    other,
    { ...secret.sealed, generation: 2 },
    ...(['enc', 'wrappedKey', 'nonce', 'ciphertext'] as const).map((part) => ({
      ...secret.sealed,
      [part]: other[part],
    })),
  ]) {
    await t.open(secret);
    await expect(t.open({ ...secret, sealed: swapped })).rejects.toThrow(UnopenableSecret);
  }
});
