import { randomBytes } from 'node:crypto';
import type { TargetTested } from '@opsconductor/protocol';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Authority } from '../auth/authority.ts';
import { createCredential } from '../credentials/edit-credentials.ts';
import {
  makeFirstAgent,
  makeSegment,
  sealedCredentialRequest,
  setupInstallation,
  type TestInstallation,
} from '../segments/testing.ts';
import { unrestricted } from '../store/people/visibility.ts';
import { createTarget } from './edit-targets.ts';
import { parseHostKeyLine } from './host-key-line.ts';
import { getTarget } from './list-targets.ts';
import { type TargetTestRequest, testTarget } from './test-target.ts';

let t: TestInstallation;
let segmentId: number;
let credentialId: string;
let made = 0;
beforeAll(async () => {
  t = await setupInstallation();
  segmentId = (await makeSegment(t, 'testing')).id;
  await makeFirstAgent(t, segmentId, 'testing-a');
  credentialId = (await createCredential(t.sql, await sealedCredentialRequest(t, segmentId), t.caller)).id;
});
afterAll(() => t.close());

const blob = Buffer.concat([
  Buffer.from([0, 0, 0, 11]),
  Buffer.from('ssh-ed25519'),
  Buffer.from([0, 0, 0, 32]),
  randomBytes(32),
]);
const hostKey = `ssh-ed25519 ${blob.toString('base64')}`;
const fingerprint = parseHostKeyLine(hostKey)?.fingerprint ?? '';

async function makeTarget(more: { credentialId?: string; hostKeyFingerprint?: string }): Promise<number> {
  made += 1;
  const request = { segmentId, name: `host-${made}`, host: '10.0.0.1', ...more };
  return (await createTarget(t.sql, request, t.caller)).id;
}

type Answer = Omit<TargetTested, 'type' | 'requestId'> | 'no_agent' | 'disabled' | 'offline';

/** Stands in for the agents: answers with what a host like this makes an agent report. */
async function test(targetId: number, answer: Answer | ((request: TargetTestRequest) => Answer)) {
  const requests: TargetTestRequest[] = [];
  const agents = {
    testTarget: async (request: TargetTestRequest) => {
      requests.push(request);
      const said = typeof answer === 'function' ? answer(request) : answer;
      if (typeof said === 'string') return said;
      return { agentName: 'testing-a', tested: { type: 'target_tested' as const, requestId: 'r', ...said } };
    },
  };
  return { result: await testTarget({ sql: t.sql, agents }, targetId, t.caller), requests };
}

describe('testing a target', () => {
  it('gives the agent the address and the sealed credential, and reports the login', async () => {
    const id = await makeTarget({ credentialId });
    const { result, requests } = await test(id, {
      ok: true,
      serverVersion: 'SSH-2.0-OpenSSH_9.2',
      latencyMs: 4,
    });
    expect(requests).toMatchObject([
      {
        segmentId,
        target: { id, host: '10.0.0.1', port: 22, hostKeys: [] },
        credential: { id: credentialId, version: 1 },
      },
    ]);
    expect(result).toMatchObject({
      ok: true,
      reason: null,
      agentName: 'testing-a',
      serverVersion: 'SSH-2.0-OpenSSH_9.2',
      latencyMs: 4,
    });
  });

  it('says what is wrong: the segment never had an agent, none is connected, there is no credential, or what the agent found', async () => {
    const id = await makeTarget({ credentialId });
    const bare = await makeTarget({});
    const results = [
      (await test(id, 'no_agent')).result,
      (await test(id, 'offline')).result,
      (await test(id, 'disabled')).result,
      (await test(bare, { ok: false, reason: 'credential_unusable' })).result,
      (await test(bare, { ok: true })).result,
      (await test(bare, { ok: false, reason: 'unreachable', message: 'No route to 10.0.0.1.' })).result,
      (await test(bare, { ok: false, reason: 'jump_host_failed', message: 'No way over bastion.' })).result,
      (await test(id, { ok: false, reason: 'auth_failed', message: 'Refused.', advice: 'See the user.' }))
        .result,
    ];
    expect(results.map((result) => result.reason)).toEqual([
      'no_agent',
      'agents_offline',
      'agents_disabled',
      'no_credential',
      'no_credential',
      'unreachable',
      'jump_host_failed',
      'auth_failed',
    ]);
    expect(results.every((result) => !result.ok && result.message !== '')).toBe(true);
    expect(new Set(results.map((result) => result.message)).size).toBe(7);
  });

  it('keeps the host key that was shown for approval', async () => {
    const id = await makeTarget({ credentialId });
    const { result, requests } = await test(id, {
      ok: false,
      reason: 'host_key_unknown',
      offeredHostKey: hostKey,
    });
    expect(result).toMatchObject({
      reason: 'host_key_unknown',
      offeredFingerprint: fingerprint,
      acceptedFingerprints: [],
    });
    expect((await getTarget(t.sql, id, unrestricted)).hostKeys).toMatchObject([
      { state: 'pending', fingerprint },
    ]);
    expect(requests).toHaveLength(1);
  });

  it('gives the agent a fingerprint that was accepted in advance, so that another key counts as changed', async () => {
    const given = `SHA256:${'A'.repeat(43)}`;
    const id = await makeTarget({ credentialId, hostKeyFingerprint: given });
    const { result, requests } = await test(id, ({ target }) => ({
      ok: false,
      reason: target.hostKeys.includes(given) ? 'host_key_mismatch' : 'host_key_unknown',
      offeredHostKey: hostKey,
    }));
    expect(requests).toHaveLength(1);
    expect(result).toMatchObject({ reason: 'host_key_mismatch', acceptedFingerprints: [given] });
    const { hostKeys } = await getTarget(t.sql, id, unrestricted);
    expect(hostKeys.map(({ state }) => state)).toEqual(['accepted', 'changed']);
  });

  it('no longer reports a key as changed once the accepted one is shown again', async () => {
    const given = `SHA256:${'B'.repeat(43)}`;
    const id = await makeTarget({ credentialId, hostKeyFingerprint: given });
    await test(id, { ok: false, reason: 'host_key_mismatch', offeredHostKey: hostKey });
    await test(id, { ok: false, reason: 'connection_refused' });
    const statesOf = async () =>
      (await getTarget(t.sql, id, unrestricted)).hostKeys.map(({ state }) => state);
    expect(await statesOf()).toEqual(['accepted', 'changed']);
    await test(id, { ok: true });
    expect(await statesOf()).toEqual(['accepted']);
  });

  it('tests a second time with the full key, if only its fingerprint was given in advance', async () => {
    const id = await makeTarget({ credentialId, hostKeyFingerprint: fingerprint });
    const { result, requests } = await test(id, ({ target }) =>
      target.hostKeys.includes(hostKey)
        ? { ok: true, offeredHostKey: hostKey }
        : { ok: false, reason: 'host_key_unknown', offeredHostKey: hostKey },
    );
    expect(requests.map((request) => request.target.hostKeys)).toEqual([[fingerprint], [hostKey]]);
    expect(result).toMatchObject({ ok: true, acceptedFingerprints: [fingerprint] });
  });

  it('records whether the target was reached, if the test could find out', async () => {
    const id = await makeTarget({ credentialId });
    const healthAfter = async (answer: Answer) => {
      await test(id, answer);
      const { health, lastContact } = await getTarget(t.sql, id, unrestricted);
      return [health, lastContact?.reason ?? null];
    };
    expect(await healthAfter('offline')).toEqual(['never', null]);
    expect(await healthAfter({ ok: false, reason: 'auth_failed' })).toEqual(['failing', 'auth_failed']);
    // The login worked, as a jump host needs it.
    expect(await healthAfter({ ok: false, reason: 'channel_refused' })).toEqual(['ok', null]);
    expect(await healthAfter({ ok: false, reason: 'auth_failed' })).toEqual(['failing', 'auth_failed']);
    expect(await healthAfter({ ok: true })).toEqual(['ok', null]);
    expect(await healthAfter({ ok: false, reason: 'credential_bounds' })).toEqual(['ok', null]);
    for (const reason of [
      'timed_out',
      'certificate_refused',
      'not_authorized',
      'jump_host_failed',
    ] as const) {
      expect(await healthAfter({ ok: true })).toEqual(['ok', null]);
      expect(await healthAfter({ ok: false, reason })).toEqual(['failing', reason]);
    }
  });

  it('is refused if the caller may not use a jump host on the way', async () => {
    const hop = await makeTarget({});
    const settings = { jump_hosts: [(await getTarget(t.sql, hop, unrestricted)).name] };
    const place = { segmentId, name: 'behind', host: '10.0.0.2', settings };
    const { id } = await createTarget(t.sql, place, t.caller);
    const grants = (['read', 'targets.test'] as const).map((permission) => ({
      ...{ role: null, permission, scope: null },
    }));
    const caller = { ...t.caller, authority: new Authority(grants) };
    const agents = { testTarget: async () => 'offline' as const };
    await expect(testTarget({ sql: t.sql, agents }, id, caller)).rejects.toMatchObject({
      permission: 'credentials.use',
      message: expect.stringContaining('jump host'),
    });
    expect(await testTarget({ sql: t.sql, agents }, hop, caller)).toMatchObject({ reason: 'agents_offline' });
  });

  it('is refused for a target that does not exist', async () => {
    await expect(test(999_999, { ok: true })).rejects.toMatchObject({ code: 'not_found' });
  });
});
