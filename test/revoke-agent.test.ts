// An agent that is revoked while it works: what happens to its step, what it can still open, and who continues.
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Agent, Credential, SealingKey } from '@opsconductor/protocol';
import { openCredential, type SealedCredential } from '@opsconductor/protocol/sealing';
import { expect, test } from 'vitest';
import { dataDirectory } from '../agent/src/identity/data-directory.ts';
import { readKey } from '../agent/src/identity/identity.ts';
import { privateKeySecret, sealSecret } from './support/sealed-credential.ts';
import { setup } from './support/system.ts';

test('a revoked agent is cut off, its step says why, and its key opens nothing sealed after that', async () => {
  await using t = await setup();
  const gate = await t.gate();
  const { id, stepIds, reader } = await t.run([`echo begun; ${gate.wait}`, 'echo never']);
  await reader.until(() => reader.text(stepIds[0] ?? 0) === 'begun\n', 'the first line');
  const peer = await t.addAgent('agent-b');
  const sealingKey = `/api/v1/segments/${t.segmentId}/sealing-key`;
  const { body: before } = await t.api.get<SealingKey>(sealingKey);
  const { items: agents } = (await t.api.get<{ items: Agent[] }>('/api/v1/agents')).body;
  const gone = agents.find(({ name }) => name === 'agent-a')?.id ?? 0;

  const revoked = await t.api.made<Agent>(`/api/v1/agents/${gone}/revoke`);
  expect(revoked.state).toBe('revoked');

  expect(await reader.end()).toBe('unknown');
  expect(await t.steps(id)).toMatchObject([
    {
      status: 'unknown',
      reason: 'agent_revoked',
      errorMessage: expect.stringContaining('Agent agent-a was revoked'),
    },
    { status: 'skipped' },
  ]);
  await t.agent.says(/was revoked on the server/);

  // Its peer makes the next generation, to which credentials are sealed from then on.
  await t.until(async () => {
    const { status, body } = await t.api.get<SealingKey>(sealingKey);
    expect([status, body.generation]).toEqual([200, before.generation + 1]);
  });
  const { body: key } = await t.api.get<SealingKey>(sealingKey);
  const credentials = async () =>
    (await t.api.get<{ items: Credential[] }>('/api/v1/credentials')).body.items;
  expect(await credentials()).toMatchObject([{ version: 1, toRotate: true }]);
  const [credential] = await credentials();
  const version = { id: credential?.id ?? '', version: 2 };
  const { sealed, kind } = await sealSecret(key, privateKeySecret(t.sshd), version);
  await t.api.made(`/api/v1/credentials/${credential?.id}/versions`, { version: 2, sealed });
  expect(await credentials()).toMatchObject([{ version: 2, toRotate: false }]);

  const keysOf = (dir: string) => readdir(dataDirectory(dir).segmentKeys);
  expect(await keysOf(t.agent.dataDir)).toEqual([`${before.generation}.key`]);
  expect(await keysOf(peer.dataDir)).toContain(`${key.generation}.key`);
  const openWithOf = async (dir: string, generation: number, version: number) => {
    const path = join(dataDirectory(dir).segmentKeys, `${generation}.key`);
    const [row] = await t.sql<{ sealed: SealedCredential; generation: number }[]>`
      select sealed, generation from credential_versions where version = ${version}`;
    if (row === undefined) throw new Error(`there is no version ${version}`);
    const { installationId, segmentId } = key;
    return openCredential({
      segmentPrivateKey: (await readKey(path)) ?? new Uint8Array(),
      binding: {
        installationId,
        credentialId: credential?.id ?? '',
        version,
        kind,
        segmentId,
        generation: row.generation,
      },
      sealed: row.sealed,
    });
  };
  const { user } = t.sshd;
  expect(await openWithOf(t.agent.dataDir, before.generation, 1)).toMatchObject({ user });
  await expect(openWithOf(t.agent.dataDir, before.generation, 2)).rejects.toMatchObject({
    reason: 'unopenable',
  });
  expect(await openWithOf(peer.dataDir, key.generation, 2)).toMatchObject({ user });

  const next = await t.run(['echo ran']);
  expect(await next.reader.end()).toBe('succeeded');
  expect(await t.steps(next.id)).toMatchObject([{ agentName: 'agent-b' }]);

  // It stays cut off after a restart, and its machine is told what to do.
  await gate.open();
  await t.agent.kill9();
  await t.agent.start({ connected: false });
  await t.agent.says(/was revoked on the server/);
  expect(t.agent.output).not.toMatch(/"msg":"connected"/);
  await t.agent.stop();
});
