// A segment with an owner-held root, from the server's side: what it keeps until that is signed, and what it does then.
import type { EnrollResponse, Segment } from '@opsconductor/protocol';
import {
  encodeBase64,
  generateEncryptionKeyPair,
  generateSegmentKey,
  generateSigningKeyPair,
  type KeyPair,
  type Roster,
  signRoster,
} from '@opsconductor/protocol/sealing';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { hasOpenedWrap, listWraps, markWrapsOpened } from '../../store/agents/segment-key-wraps.ts';
import { findSegment } from '../../store/agents/segments.ts';
import { unrestricted } from '../../store/people/visibility.ts';
import { revokeAgent } from '../agents/revoke-agent.ts';
import { createSegment } from '../create-segment.ts';
import { enrollAgent } from '../enrollment/enroll-agent.ts';
import { getSegment } from '../list-segments.ts';
import { offerSegmentKey } from '../segment-keys/offer-segment-key.ts';
import { giveRecovered, readRecovery, storeRecoveryWrap } from '../segment-keys/recovery-wraps.ts';
import { sealingKeyOf } from '../segment-keys/sealing-key.ts';
import { takeKeyGeneration } from '../segment-keys/take-key-generation.ts';
import { segmentStateFor } from '../segment-state.ts';
import {
  type AgentKeys,
  enrollRequest,
  generationOffer,
  makeAgentKeys,
  makeFirstAgent,
  makeToken,
  segmentKeyOffer,
  setupInstallation,
  type TestInstallation,
  testOrigin,
} from '../testing.ts';
import { readRoster } from './read-roster.ts';
import { takeRoster } from './take-roster.ts';

let t: TestInstallation;
beforeAll(async () => {
  t = await setupInstallation();
});
afterAll(() => t.close());

interface Member {
  enrolled: EnrollResponse;
  keys: AgentKeys;
  segmentKey: KeyPair;
}

let made = 0;
async function makeOwned() {
  const root = await generateSigningKeyPair();
  const ownerRoot = encodeBase64(root.publicKey);
  const name = `owned-${++made}`;
  const segment = await createSegment(t.sql, t.masterKey, { name, ownerRoot }, t.caller);
  return { root, segment };
}

/** Enrolls an agent, which makes a segment key if there is none yet. */
async function enrolled(segment: Segment): Promise<Member> {
  const keys = await makeAgentKeys();
  const request = await enrollRequest(await makeToken(t, segment.id), `owned-agent-${++made}`, keys);
  const response = await enrollAgent(t, request, testOrigin);
  const segmentKey = await generateSegmentKey();
  if (response.makesSegmentKey) {
    await offerSegmentKey(t, await segmentKeyOffer(response, keys, segmentKey), testOrigin);
  }
  return { enrolled: response, keys, segmentKey };
}

const memberOf = ({ enrolled, keys }: Member): Roster['agents'][number] => ({
  agentId: enrolled.agentId,
  name: enrolled.agentName,
  signingKey: encodeBase64(keys.signing.publicKey),
  encryptionKey: encodeBase64(keys.encryption.publicKey),
});

function rosterOf(
  segment: Segment,
  number: number,
  members: readonly Member[],
  keys: readonly string[],
): Roster {
  return {
    installationId: t.identity.installationId,
    segmentId: segment.id,
    number,
    agents: members.map(memberOf),
    segmentKeys: keys.map((publicKey, at) => ({ generation: at + 1, publicKey })),
    currentGeneration: keys.length,
    revoked: [],
  };
}

async function take(segment: Segment, root: KeyPair, roster: Roster): Promise<Segment> {
  const deps = { sql: t.sql, installationId: t.identity.installationId };
  return takeRoster(deps, segment.id, await signRoster(root.privateKey, roster), t.caller);
}

test('the server holds nothing that could sign for an owner-held root, and makes no roster', async () => {
  const { segment } = await makeOwned();
  expect(segment).toMatchObject({ root: 'owner_held', toSign: null, keyGeneration: 0 });
  expect((await findSegment(t.sql, segment.id))?.rootKeySealed).toBeNull();
  const { enrolled: agent } = await enrolled(segment);
  expect(await segmentStateFor(t.sql, agent.agentId)).toBeUndefined();
  const waiting = { admit: [agent.agentName], remove: [], newKey: true };
  expect(await getSegment(t.sql, segment.id, unrestricted)).toMatchObject({
    toSign: waiting,
    keyGeneration: 0,
  });
  await expect(sealingKeyOf(t.sql, 'any', segment.id, t.caller)).rejects.toMatchObject({ code: 'conflict' });
});

test('a signed roster names members and the key; the agent that made it has its wrap', async () => {
  const { root, segment } = await makeOwned();
  const [a, b] = [await enrolled(segment), await enrolled(segment)];
  const state = await readRoster(t.sql, t.identity.installationId, segment.id, t.caller);
  expect(state.offers.map(({ agentId }) => agentId)).toEqual([a.enrolled.agentId, b.enrolled.agentId]);
  const key = encodeBase64(a.segmentKey.publicKey);
  const roster = rosterOf(segment, 1, [a], [key]);
  expect(await take(segment, root, roster)).toMatchObject({
    keyGeneration: 1,
    toSign: { admit: [b.enrolled.agentName], remove: [], newKey: false },
  });
  expect(await listWraps(t.sql, a.enrolled.agentId)).toHaveLength(1);
  expect(await listWraps(t.sql, b.enrolled.agentId)).toEqual([]);
  // Repeating it changes nothing.
  expect(await take(segment, root, roster)).toMatchObject({ keyGeneration: 1 });
  expect(await take(segment, root, rosterOf(segment, 2, [a, b], [key]))).toMatchObject({ toSign: null });
  expect((await sealingKeyOf(t.sql, t.identity.installationId, segment.id, t.caller)).publicKey).toBe(key);
});

test('rosters that others signed, that are older, or that name unknown agents are refused', async () => {
  const { root, segment } = await makeOwned();
  const [a, b] = [await enrolled(segment), await enrolled(segment)];
  const key = encodeBase64(a.segmentKey.publicKey);
  const roster = rosterOf(segment, 3, [a], [key]);
  const stranger = await generateSigningKeyPair();
  await expect(take(segment, stranger, roster)).rejects.toMatchObject({
    code: 'invalid',
    details: [{ path: 'signature' }],
  });
  await take(segment, root, roster);
  await expect(take(segment, root, { ...roster, number: 2 })).rejects.toMatchObject({ code: 'conflict' });
  const swapped = { ...memberOf(b), encryptionKey: encodeBase64(stranger.publicKey) };
  const next = { ...roster, number: 4 };
  await expect(take(segment, root, { ...next, agents: [...roster.agents, swapped] })).rejects.toThrow(
    /not enrolled here with these keys.*--remove/,
  );
  const other = rosterOf(segment, 4, [a], [encodeBase64(b.segmentKey.publicKey)]);
  await expect(take(segment, root, other)).rejects.toThrow('another key of generation 1');
  const managed = await createSegment(t.sql, t.masterKey, { name: `managed-${made}` }, t.caller);
  await expect(take(managed, root, { ...roster, segmentId: managed.id })).rejects.toThrow('is managed');
});

test('of diverging rosters, one that drops a key is never accepted; one based on the other with a higher number is', async () => {
  const { root, segment } = await makeOwned();
  const [a, b] = [await enrolled(segment), await enrolled(segment)];
  const first = encodeBase64(a.segmentKey.publicKey);
  const second = encodeBase64((await generateSegmentKey()).publicKey);
  await take(segment, root, rosterOf(segment, 1, [a, b], [first]));
  await take(segment, root, rosterOf(segment, 2, [a, b], [first, second]));
  const revoked = [{ agentId: b.enrolled.agentId, atNumber: 4 }];
  const apart = { ...rosterOf(segment, 4, [a], [first]), revoked };
  await expect(take(segment, root, apart)).rejects.toThrow('which the roster does not name');
  const next = { ...rosterOf(segment, 5, [a], [first, second]), revoked };
  expect(await take(segment, root, next)).toMatchObject({ keyGeneration: 2 });
  const { agents } = await readRoster(t.sql, t.identity.installationId, segment.id, t.caller);
  expect(agents).toContainEqual(expect.objectContaining({ id: b.enrolled.agentId, state: 'revoked' }));
});

test('after a revocation peers offer the next key, and the owner names it without the revoked agent', async () => {
  const { root, segment } = await makeOwned();
  const [a, b] = [await enrolled(segment), await enrolled(segment)];
  const first = encodeBase64(a.segmentKey.publicKey);
  await take(segment, root, rosterOf(segment, 1, [a, b], [first]));
  const deps = { sql: t.sql, masterKey: t.masterKey, installationId: t.identity.installationId };
  await revokeAgent(deps, a.enrolled.agentId, t.caller);
  const offer = await generationOffer(t.identity, b, 2);
  expect(await takeKeyGeneration(deps, b.enrolled.agentId, offer)).toBe(true);
  // It repeats the offer whenever it is told the state of its segment.
  expect(await takeKeyGeneration(deps, b.enrolled.agentId, offer)).toBe(false);
  expect(await getSegment(t.sql, segment.id, unrestricted)).toMatchObject({
    keyGeneration: 1,
    keyRotationWantedAt: expect.any(String),
    toSign: { admit: [], remove: [a.enrolled.agentName], newKey: true },
  });
  const keys = [first, offer.segmentPublicKey];
  await expect(take(segment, root, rosterOf(segment, 2, [a, b], keys))).rejects.toThrow('--remove');
  expect(await take(segment, root, rosterOf(segment, 2, [b], keys))).toMatchObject({
    keyGeneration: 2,
    keyRotationWantedAt: null,
    toSign: null,
  });
  expect((await listWraps(t.sql, b.enrolled.agentId)).map(({ generation }) => generation)).toContain(2);
});

test('an agent that the owner leaves out is revoked, and its key must be replaced', async () => {
  const { root, segment } = await makeOwned();
  const [a, b] = [await enrolled(segment), await enrolled(segment)];
  const keys = [encodeBase64(a.segmentKey.publicKey)];
  await take(segment, root, rosterOf(segment, 1, [a, b], keys));
  await markWrapsOpened(t.sql, a.enrolled.agentId, [1]);
  expect(await hasOpenedWrap(t.sql, a.enrolled.agentId, 1)).toBe(true);
  expect(await take(segment, root, rosterOf(segment, 2, [b], keys))).toMatchObject({
    keyRotationWantedAt: expect.any(String),
  });
  const [agent] = await t.sql<{ state: string }[]>`select state from agents where id = ${a.enrolled.agentId}`;
  expect(agent?.state).toBe('revoked');
});

test('the newest key must be replaced if only a revoked agent has it, or no known agent', async () => {
  const { root, segment } = await makeOwned();
  const [a, b] = [await enrolled(segment), await enrolled(segment)];
  const first = encodeBase64(a.segmentKey.publicKey);
  await take(segment, root, rosterOf(segment, 1, [a, b], [first]));
  const deps = { sql: t.sql, masterKey: t.masterKey, installationId: t.identity.installationId };
  await revokeAgent(deps, a.enrolled.agentId, t.caller);
  const offer = await generationOffer(t.identity, b, 2);
  await takeKeyGeneration(deps, b.enrolled.agentId, offer);
  await revokeAgent(deps, b.enrolled.agentId, t.caller);
  const c = await enrolled(segment);
  const keys = [first, offer.segmentPublicKey];
  expect(await take(segment, root, rosterOf(segment, 2, [c], keys))).toMatchObject({
    keyGeneration: 2,
    keyRotationWantedAt: expect.any(String),
  });
  // As after a restore of the database: the roster names a generation that was never offered here.
  const unknown = encodeBase64((await generateSegmentKey()).publicKey);
  expect(await take(segment, root, rosterOf(segment, 3, [c], [...keys, unknown]))).toMatchObject({
    keyGeneration: 3,
    keyRotationWantedAt: expect.any(String),
  });
});

test('agents are asked once to wrap for the recovery key, and the recovered key goes to an active agent', async () => {
  const { root, segment } = await makeOwned();
  const [a, b] = [await enrolled(segment), await enrolled(segment)];
  const recovery = await generateEncryptionKeyPair();
  const recoveryKey = encodeBase64(recovery.publicKey);
  const roster = rosterOf(segment, 1, [a, b], [encodeBase64(a.segmentKey.publicKey)]);
  await take(segment, root, { ...roster, recoveryKey });
  const { agentId } = a.enrolled;
  const wrapped = Buffer.alloc(81).toString('base64');
  const store = () =>
    t.sql.begin((tx) => storeRecoveryWrap(tx as never, agentId, { generation: 1, wrapped }));
  await expect(store()).rejects.toMatchObject({ code: 'forbidden' });
  expect((await segmentStateFor(t.sql, agentId))?.wantedForRecovery).toBeUndefined();
  await markWrapsOpened(t.sql, agentId, [1]);
  expect((await segmentStateFor(t.sql, agentId))?.wantedForRecovery).toEqual([1]);
  expect([await store(), await store()]).toEqual([true, false]);
  expect((await segmentStateFor(t.sql, agentId))?.wantedForRecovery).toBeUndefined();
  expect(await readRecovery(t.sql, segment.id, t.caller)).toEqual({
    recoveryKey,
    wraps: [{ generation: 1, wrapped }],
  });
  const give = (to: number, generation = 1) =>
    giveRecovered(t.sql, segment.id, { agentId: to, wraps: [{ generation, wrapped }] }, t.caller);
  expect(await give(b.enrolled.agentId)).toEqual({ stored: [1] });
  // The agent already has a wrap of this generation.
  expect(await give(agentId)).toEqual({ stored: [] });
  await expect(give(b.enrolled.agentId, 2)).rejects.toThrow('no generation 2');
  await expect(give(999_999)).rejects.toThrow('not active in this segment');
  const wraps = [
    { generation: 1, wrapped },
    { generation: 2, wrapped: 'AAAA' },
  ];
  await expect(
    giveRecovered(t.sql, segment.id, { agentId: b.enrolled.agentId, wraps }, t.caller),
  ).rejects.toMatchObject({ code: 'invalid', details: [{ path: 'wraps[1].wrapped' }] });
  // With another recovery key, what was wrapped for the previous one is useless.
  const other = encodeBase64((await generateEncryptionKeyPair()).publicKey);
  await take(segment, root, { ...roster, number: 2, recoveryKey: other });
  expect((await segmentStateFor(t.sql, agentId))?.wantedForRecovery).toEqual([1]);
});

test('of an agent whose wrap for the recovery key is useless, the others are asked all the same', async () => {
  const { root, segment } = await makeOwned();
  const [liar, honest] = [await enrolled(segment), await enrolled(segment)];
  const recovery = await generateEncryptionKeyPair();
  const recoveryKey = encodeBase64(recovery.publicKey);
  const roster = rosterOf(segment, 1, [liar, honest], [encodeBase64(liar.segmentKey.publicKey)]);
  await take(segment, root, { ...roster, recoveryKey });
  await giveRecovered(
    t.sql,
    segment.id,
    { agentId: honest.enrolled.agentId, wraps: [{ generation: 1, wrapped: wrapOf(0) }] },
    t.caller,
  );
  for (const [n, { enrolled: agent }] of [liar, honest].entries()) {
    await markWrapsOpened(t.sql, agent.agentId, [1]);
    expect((await segmentStateFor(t.sql, agent.agentId))?.wantedForRecovery).toEqual([1]);
    const wrap = { generation: 1, wrapped: wrapOf(n) };
    expect(await t.sql.begin((tx) => storeRecoveryWrap(tx as never, agent.agentId, wrap))).toBe(true);
    expect((await segmentStateFor(t.sql, agent.agentId))?.wantedForRecovery).toBeUndefined();
  }
  expect((await readRecovery(t.sql, segment.id, t.caller)).wraps).toEqual([
    { generation: 1, wrapped: wrapOf(0) },
    { generation: 1, wrapped: wrapOf(1) },
  ]);
});

function wrapOf(byte: number): string {
  return Buffer.alloc(81, byte).toString('base64');
}

test('managed segments have nothing for an owner to sign', async () => {
  const segment = await createSegment(t.sql, t.masterKey, { name: `managed-${++made}` }, t.caller);
  await makeFirstAgent(t, segment.id, `managed-agent-${made}`);
  expect(await getSegment(t.sql, segment.id, unrestricted)).toMatchObject({ root: 'managed', toSign: null });
});
