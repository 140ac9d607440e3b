// Rosters that an owner has signed on several machines, which a server may hide from each of them.
import type { SegmentRoster } from '@opsconductor/protocol';
import {
  agentFingerprint,
  decodeBase64,
  encodeBase64,
  generateEncryptionKeyPair,
  type Roster,
  type SignedRoster,
} from '@opsconductor/protocol/sealing';
import { expect, test } from 'vitest';
import { AgentError } from '../../agent-error.ts';
import { storeSealed } from '../credentials/seal-credential.ts';
import { describeOwned } from './describe-owned.ts';
import { installationId, member, segmentId, setup } from './owned-segment-setup.ts';

/**
 * Roster 4 was signed here, removed agent 2 and has agent 4; the server has a roster 2 of another machine, with a key
 * of its own.
 */
async function setupApart() {
  const t = await setup();
  const [a, b, c, d] = [await member(1), await member(2), await member(3), await member(4)];
  t.server.state = { ...t.server.state, roster: await t.signed({ number: 3, agents: [a, b, d] }) };
  await t.sign({ remove: ['agent-2'] });
  const publicKey = encodeBase64((await generateEncryptionKeyPair()).publicKey);
  const segmentKeys = [...t.first.segmentKeys, { generation: 2, publicKey }];
  const other = { number: 2, agents: [a, b, c], segmentKeys, currentGeneration: 2 };
  t.server.state = { ...t.server.state, roster: await t.signed(other) };
  t.sent.length = 0;
  return { ...t, segmentKeys, takenOut: b };
}

test('a roster that was signed here and that the server will never accept is given up by naming the server’s, after the owner is told what that drops', async () => {
  await using t = await setupApart();
  const refusal = await t.sign().catch((error: unknown) => error);
  if (!(refusal instanceof AgentError)) throw refusal;
  expect(refusal.message).toMatch(/^Roster 4 of segment dmz, which is kept here, does not name generation 2/);
  expect(refusal.fix).toContain(
    '--from-server 2 signs a roster 5 based on it that leaves out agent agent-4, which roster 4 names; names no recovery key, unlike roster 4; removes agent agent-2, as roster 4 does.',
  );
  expect(describeOwned(await t.read()).join('\n')).toContain('apart     the server has a segment key');
  // With another number it is not the roster that the owner was told about.
  await expect(t.sign({ fromServer: 1 })).rejects.toThrow('The server accepts no roster that drops the key');
  expect([t.sent, (await t.roots()).named('dmz').rosterNumber]).toEqual([[], 4]);
  expect(await t.sign({ fromServer: 2 })).toEqual([
    'continues from roster 2, which the server has, as number 5',
    'removes agent agent-2',
    expect.stringContaining('keeps generation 2 of the segment key, which a removed agent may have'),
    'names the recovery key',
    'leaves out agent agent-4, which roster 4 names',
  ]);
  const [body] = t.sent.map((one) => one.body) as [SignedRoster];
  expect(JSON.parse(body.payload)).toMatchObject({
    ...{ number: 5, segmentKeys: t.segmentKeys, currentGeneration: 2 },
    agents: [{ agentId: 1 }, { agentId: 3 }],
    revoked: [{ agentId: 2, atNumber: 5 }],
  });
  expect((await t.roots()).named('dmz').rosterNumber).toBe(5);
  // Signing then goes on as usual.
  expect(await t.sign()).toEqual(['names the recovery key']);
  expect((await t.read()).roster?.number).toBe(6);
});

/** Agent 2 was removed here by roster 4, which a hostile server has shown to nobody: another machine has signed on. */
async function setupHidden() {
  const t = await setup();
  const [a, b] = [await member(1), await member(2)];
  t.server.state = { ...t.server.state, roster: await t.signed({ number: 3, agents: [a, b] }) };
  await t.sign({ remove: ['agent-2'] });
  const show = async (more: Partial<Roster>) => {
    t.server.state = { ...t.server.state, roster: await t.signed(more) };
    t.sent.length = 0;
  };
  const lastSent = () => JSON.parse((t.server.state.roster as SignedRoster).payload) as Roster;
  return { ...t, a, b, show, lastSent };
}

test('an agent that was removed here is not brought back by a roster of another machine that did not know it', async () => {
  await using t = await setupHidden();
  await t.show({ number: 5, agents: [t.a, t.b] });
  await expect(t.sign()).rejects.toMatchObject({
    message: 'Roster 5 of segment dmz names agent agent-2, which roster 4 has removed.',
    fix: expect.stringContaining('Remove it again: --remove agent-2. Nothing was signed.'),
  });
  expect([t.sent, (await t.roots()).named('dmz').rosterNumber]).toEqual([[], 4]);
  expect(describeOwned(await t.read())).toContain(
    'agent     agent-2, removed by roster 4: remove it again with --remove agent-2',
  );
  expect(await t.sign({ remove: ['agent-2'] })).toContain('removes agent agent-2');
  expect(t.lastSent()).toMatchObject({ agents: [{ agentId: 1 }], revoked: [{ agentId: 2, atNumber: 6 }] });
  expect(await t.sign()).toEqual(['names the recovery key']);
});

test('nothing is sealed by a roster that brings back an agent which was removed here, or by another one of the same number', async () => {
  await using t = await setupHidden();
  const bounds = {
    ...{ hosts: ['*.example'], networks: [], ports: [22], protocols: ['ssh' as const], user: 'deploy' },
    authentication: ['password' as const],
  };
  const secret = { kind: 'ssh_password' as const, user: 'deploy', password: 'correct horse', bounds };
  const seal = async () =>
    storeSealed(t.api, await t.roots(), { segmentName: 'dmz', name: 'deploy', secret, replace: false });
  await t.show({ number: 5, agents: [t.a, t.b] });
  await expect(seal()).rejects.toThrow('names agent agent-2, which roster 4 has removed');
  await t.show({ number: 4, agents: [t.a] });
  await expect(seal()).rejects.toThrow('There are two rosters 4');
  expect(t.sent).toEqual([]);
  await t.show({ number: 5, agents: [t.a] });
  await seal();
  expect(t.sent).toHaveLength(1);
});

test('the number of an agent that was removed here stays taken, whatever another machine has signed', async () => {
  await using t = await setupHidden();
  await t.show({ number: 5, agents: [t.a] });
  const { signingKey, encryptionKey } = t.b;
  const again = { id: 2, name: 'agent-2', state: 'active' as const, signingKey, encryptionKey };
  t.server.state = { ...t.server.state, agents: [again] };
  const shown = await agentFingerprint({
    ...{ installationId, segmentId, segmentRoot: t.root.publicKey },
    signingKey: decodeBase64(signingKey),
    encryptionKey: decodeBase64(encryptionKey),
  });
  await expect(t.sign({ admit: [['agent-2', shown]] })).rejects.toThrow('an agent that was removed (2)');
  await t.sign();
  expect(t.lastSent().revoked).toEqual([{ agentId: 2, atNumber: 4 }]);
});

test('nothing that was signed here is given up if the server accepts what is built on it', async () => {
  await using t = await setup();
  t.server.state = { ...t.server.state, roster: await t.signed({ number: 2 }) };
  await t.sign();
  t.server.state = { ...t.server.state, roster: await t.signed({ number: 2 }) };
  t.sent.length = 0;
  await expect(t.sign({ fromServer: 2 })).rejects.toThrow('no reason to drop what is kept here');
  expect(t.sent).toEqual([]);
});

test('nothing is built on the server’s roster if an agent has seen a newer one than both, unless the owner confirms it', async () => {
  await using t = await setupApart();
  const seen = (rosterNumber: number) => {
    t.server.state = { ...t.server.state, seenNewer: [{ name: 'agent-3', rosterNumber }] };
  };
  seen(5);
  await expect(t.sign({ fromServer: 2 })).rejects.toThrow('the newest one here is 4');
  expect(t.sent).toEqual([]);
  seen(4);
  expect(await t.sign({ fromServer: 2 })).toContain('removes agent agent-2');
});

test('a removed agent is not admitted by the same roster, and the server is not blamed for that', async () => {
  await using t = await setupApart();
  const asEnrolled = {
    id: 2,
    name: 'agent-2',
    state: 'active',
    signingKey: t.takenOut.signingKey,
    encryptionKey: t.takenOut.encryptionKey,
  };
  t.server.state = { ...t.server.state, agents: [asEnrolled] } as SegmentRoster;
  const expected = await agentFingerprint({
    ...{ installationId, segmentId, segmentRoot: t.root.publicKey },
    signingKey: decodeBase64(asEnrolled.signingKey),
    encryptionKey: decodeBase64(asEnrolled.encryptionKey),
  });
  const admit: [string, string][] = [['agent-2', expected]];
  for (const remove of [[], ['agent-1']]) {
    const refusal = await t.sign({ fromServer: 2, remove, admit }).catch((error: unknown) => error);
    if (!(refusal instanceof AgentError)) throw refusal;
    expect(refusal.message).toBe(
      'Agent agent-2 has the number of an agent that the next roster removes (2).',
    );
  }
  expect(t.sent).toEqual([]);
});
