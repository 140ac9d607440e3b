import {
  encodeBase64,
  generateSigningKeyPair,
  keyChangeStatement,
  type Roster,
  segmentKeyStatement,
  sign,
  signRoster,
} from '@opsconductor/protocol/sealing';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { findAgent } from '../../store/agents/agents.ts';
import { listOffers, putOffer } from '../../store/agents/segment-key-offers.ts';
import { listWraps } from '../../store/agents/segment-key-wraps.ts';
import { findSegment } from '../../store/agents/segments.ts';
import { inTransaction } from '../../store/database/transaction.ts';
import { unrestricted } from '../../store/people/visibility.ts';
import { revokeAgent } from '../agents/revoke-agent.ts';
import { createSegment } from '../create-segment.ts';
import { enrollAgent } from '../enrollment/enroll-agent.ts';
import { getSegment } from '../list-segments.ts';
import { readRoster } from '../owner-held/read-roster.ts';
import { takeRoster } from '../owner-held/take-roster.ts';
import { segmentStateFor, storeWrap } from '../segment-state.ts';
import {
  type AgentKeys,
  enrollRequest,
  makeAgentKeys,
  makeFirstAgent,
  makeSegment,
  makeToken,
  setupInstallation,
  type TestInstallation,
  testOrigin,
} from '../testing.ts';
import { takeNewKeys } from './take-new-keys.ts';
import { wantNewKeys } from './want-new-keys.ts';

let t: TestInstallation;
let deps: Parameters<typeof takeNewKeys>[0];
beforeAll(async () => {
  t = await setupInstallation();
  deps = { sql: t.sql, masterKey: t.masterKey, installationId: t.identity.installationId };
});
afterAll(() => t.close());

const wrapped = Buffer.alloc(81, 7).toString('base64');

async function offerOf(
  {
    enrolled: { agentId, segmentId, installationId },
    keys,
  }: Pick<Awaited<ReturnType<typeof makeFirstAgent>>, 'enrolled' | 'keys'>,
  next: AgentKeys,
  signer = keys,
) {
  const statement = keyChangeStatement({
    ...{ installationId, segmentId, agentId },
    oldSigningKey: keys.signing.publicKey,
    signingKey: next.signing.publicKey,
    encryptionKey: next.encryption.publicKey,
  });
  return {
    signingKey: encodeBase64(next.signing.publicKey),
    encryptionKey: encodeBase64(next.encryption.publicKey),
    signature: encodeBase64(await sign(signer.signing.privateKey, statement)),
    ownSignature: encodeBase64(await sign(next.signing.privateKey, statement)),
    wraps: [{ generation: 1, wrapped }],
  };
}

const audited = async (agentId: number) =>
  (
    await t.sql<{ action: string }[]>`
      select action from audit_log where object_kind = 'agent' and object_id = ${String(agentId)} order by id`
  ).map(({ action }) => action);

test('new keys replace the previous ones, in the roster and in what is wrapped for the agent', async () => {
  const segment = await makeSegment(t, 'managed-1');
  const agent = await makeFirstAgent(t, segment.id, 'managed-a');
  const { agentId } = agent.enrolled;
  expect(await wantNewKeys(deps, agentId, t.caller)).toMatchObject({ newKeysWantedAt: expect.any(String) });
  expect(await segmentStateFor(t.sql, agentId)).toMatchObject({ newKeysWanted: true });
  const next = await makeAgentKeys();
  const offer = await offerOf(agent, next);
  await takeNewKeys(deps, agentId, offer);
  await takeNewKeys(deps, agentId, offer);
  const state = await segmentStateFor(t.sql, agentId);
  expect(state?.newKeysWanted).toBeUndefined();
  expect((JSON.parse(state?.roster.payload ?? '') as Roster).agents).toMatchObject([
    { agentId, signingKey: offer.signingKey, encryptionKey: offer.encryptionKey },
  ]);
  expect(state?.wraps).toEqual([{ generation: 1, wrapped }]);
  expect((await audited(agentId)).filter((action) => action.includes('keys'))).toEqual([
    'agent.new_keys_wanted',
    'agent.keys_changed',
  ]);
});

test('keys that the previous ones have not signed, or without proof of the private half, are refused', async () => {
  const segment = await makeSegment(t, 'managed-2');
  const agent = await makeFirstAgent(t, segment.id, 'managed-b');
  const { agentId } = agent.enrolled;
  const [next, stranger] = [await makeAgentKeys(), await makeAgentKeys()];
  const offer = await offerOf(agent, next);
  const refused = { code: 'invalid', message: expect.stringContaining('not signed') };
  for (const wrong of [
    await offerOf(agent, next, stranger),
    { ...offer, encryptionKey: encodeBase64(stranger.encryption.publicKey) },
    { ...offer, ownSignature: offer.signature },
  ])
    await expect(takeNewKeys(deps, agentId, wrong)).rejects.toMatchObject(refused);
  const other = await makeFirstAgent(t, (await makeSegment(t, 'managed-3')).id, 'managed-c');
  await expect(takeNewKeys(deps, agentId, await offerOf(agent, other.keys))).rejects.toMatchObject({
    code: 'invalid',
    message: 'Another agent has this key.',
  });
  await revokeAgent(deps, agentId, t.caller);
  await takeNewKeys(deps, agentId, offer);
  const row = await findAgent(t.sql, agentId);
  expect(row?.signingKey.equals(agent.keys.signing.publicKey)).toBe(true);
  await expect(wantNewKeys(deps, agentId, t.caller)).rejects.toMatchObject({ code: 'conflict' });
});

test('keys replaced sixteen times within two weeks are not replaced again until these weeks are over', async () => {
  const segment = await makeSegment(t, 'managed-4');
  let agent = await makeFirstAgent(t, segment.id, 'managed-d');
  const { agentId } = agent.enrolled;
  const change = async () => {
    const keys = await makeAgentKeys();
    await takeNewKeys(deps, agentId, await offerOf(agent, keys));
    const isTaken = (await findAgent(t.sql, agentId))?.signingKey.equals(keys.signing.publicKey) === true;
    if (isTaken) agent = { ...agent, keys };
    return isTaken;
  };
  for (let times = 0; times < 16; times++) expect(await change()).toBe(true);
  expect(await change()).toBe(false);
  await t.sql`update former_agent_keys set replaced_at = replaced_at - interval '14 days' where agent_id = ${agentId}`;
  expect(await change()).toBe(true);
});

test('a replaced key is not accepted again: two keys in turns would be endless changes that do not count', async () => {
  const segment = await makeSegment(t, 'managed-5');
  const first = await makeFirstAgent(t, segment.id, 'managed-e');
  const { agentId } = first.enrolled;
  const second = { ...first, keys: await makeAgentKeys() };
  const third = { ...first, keys: await makeAgentKeys() };
  await takeNewKeys(deps, agentId, await offerOf(first, second.keys));
  const refused = { code: 'invalid', message: 'The agent has had this key before.' };
  await expect(takeNewKeys(deps, agentId, await offerOf(second, first.keys))).rejects.toMatchObject(refused);
  await takeNewKeys(deps, agentId, await offerOf(second, third.keys));
  for (const { keys } of [first, second])
    await expect(takeNewKeys(deps, agentId, await offerOf(third, keys))).rejects.toMatchObject(refused);
  // Servers of an earlier version kept the last key only in the agent's row.
  await t.sql`delete from former_agent_keys where agent_id = ${agentId}`;
  await expect(takeNewKeys(deps, agentId, await offerOf(third, second.keys))).rejects.toMatchObject(refused);
});

test('of keys older than two weeks, those used longest are kept, however long the newer ones were used', async () => {
  const segment = await makeSegment(t, 'managed-6');
  const agent = await makeFirstAgent(t, segment.id, 'managed-f');
  const { agentId } = agent.enrolled;
  await t.sql`update agents set enrolled_at = enrolled_at - interval '12 hours' where id = ${agentId}`;
  await t.sql`
    insert into former_agent_keys select ${agentId}, sha256(n::text::bytea), replaced_at - used, replaced_at from (
      select n, clock_timestamp() - make_interval(hours => n * 12) as replaced_at, interval '12 hours' as used
        from generate_series(1, 15) as n
      union all
      select n, clock_timestamp() - make_interval(days => 14 + n), make_interval(mins => n) from generate_series(20, 36) as n
    ) as known`;
  await takeNewKeys(deps, agentId, await offerOf(agent, await makeAgentKeys()));
  const kept = await t.sql<{ minutes: number }[]>`
    select (extract(epoch from replaced_at - used_since) / 60)::int as minutes from former_agent_keys
     where agent_id = ${agentId} and replaced_at < clock_timestamp() - interval '14 days' order by 1`;
  // Of seventeen, all except the one that was in use for the shortest time.
  expect(kept.map(({ minutes }) => minutes)).toEqual(Array.from({ length: 16 }, (_, n) => 21 + n));
});

test('with an owner-held root new keys wait for the owner’s roster, and the previous ones stay valid until then', async () => {
  const root = await generateSigningKeyPair();
  const ownerRoot = encodeBase64(root.publicKey);
  const segment = await createSegment(t.sql, t.masterKey, { name: 'owned', ownerRoot }, t.caller);
  const agent = await makeFirstAgent(t, segment.id, 'owned-a');
  const { agentId } = agent.enrolled;
  const member = (keys: AgentKeys): Roster['agents'][number] => ({
    ...{ agentId, name: 'owned-a' },
    signingKey: encodeBase64(keys.signing.publicKey),
    encryptionKey: encodeBase64(keys.encryption.publicKey),
  });
  const take = async (number: number, keys: AgentKeys) => {
    const roster: Roster = {
      ...{ installationId: deps.installationId, segmentId: segment.id, number, revoked: [] },
      agents: [member(keys)],
      segmentKeys: [{ generation: 1, publicKey: encodeBase64(agent.segmentKey.publicKey) }],
      currentGeneration: 1,
    };
    return takeRoster(deps, segment.id, await signRoster(root.privateKey, roster), t.caller);
  };
  await take(1, agent.keys);
  const next = await makeAgentKeys();
  const offer = await offerOf(agent, next);
  await takeNewKeys(deps, agentId, offer);
  await takeNewKeys(deps, agentId, offer);
  await expect(wantNewKeys(deps, agentId, t.caller)).rejects.toMatchObject({
    code: 'conflict',
    message: expect.stringContaining('already waiting'),
  });
  expect(await getSegment(t.sql, segment.id, unrestricted)).toMatchObject({
    toSign: { admit: [], remove: [], rekey: ['owned-a'], newKey: false },
  });
  const { keyChanges } = await readRoster(t.sql, deps.installationId, segment.id, t.caller);
  expect(keyChanges).toEqual([{ ...member(next), agentId, name: undefined, signature: offer.signature }]);
  const statement = segmentKeyStatement({
    ...{ installationId: deps.installationId, segmentId: segment.id, agentId, generation: 2, wrapped },
    segmentPublicKey: next.encryption.publicKey,
  });
  const signature = encodeBase64(await sign(agent.keys.signing.privateKey, statement));
  const offered = { agentId, generation: 2, publicKey: Buffer.from(next.encryption.publicKey) };
  await inTransaction(t.sql, (tx) => putOffer(tx, segment.id, { ...offered, wrapped, signature }));
  // A roster that was signed meanwhile may still name the previous keys.
  await take(2, agent.keys);
  expect((await findAgent(t.sql, agentId))?.signingKey.equals(agent.keys.signing.publicKey)).toBe(true);
  expect(await take(3, next)).toMatchObject({ toSign: null });
  expect((await findAgent(t.sql, agentId))?.signingKey.equals(next.signing.publicKey)).toBe(true);
  expect(await listWraps(t.sql, agentId)).toEqual([{ generation: 1, wrapped }]);
  // What the agent signed with the previous keys can no longer be verified.
  expect(await listOffers(t.sql, segment.id)).toEqual([]);
  await expect(take(4, agent.keys)).rejects.toThrow('not enrolled here with these keys');
  expect((await findSegment(t.sql, segment.id))?.rosterNumber).toBe(3);
  expect((await audited(agentId)).filter((action) => action.includes('keys'))).toEqual([
    'agent.keys_offered',
  ]);
});

test('an agent that was given the key, and replaces its own keys without a word about it, is not forgotten as one that has it', async () => {
  const segment = await makeSegment(t, 'managed-7');
  const first = await makeFirstAgent(t, segment.id, 'managed-k');
  const keys = await makeAgentKeys();
  const request = await enrollRequest(await makeToken(t, segment.id), 'managed-l', keys);
  const hostile = { enrolled: await enrollAgent(t, request, testOrigin), keys };
  const { agentId } = hostile.enrolled;
  const wrap = { byAgentId: first.enrolled.agentId, agentId, generation: 1, wrapped };
  await inTransaction(t.sql, (tx) => storeWrap(tx, wrap));
  const next = await makeAgentKeys();
  await takeNewKeys(deps, agentId, { ...(await offerOf(hostile, next)), wraps: [] });
  // What was wrapped for its previous key is of no use to it any more, and its peers are asked again.
  expect((await segmentStateFor(t.sql, agentId))?.wraps).toEqual([]);
  const { wanting } = (await segmentStateFor(t.sql, first.enrolled.agentId)) ?? {};
  expect(wanting).toEqual([{ agentId, generation: 1 }]);
  await revokeAgent(deps, agentId, t.caller);
  expect((await findSegment(t.sql, segment.id))?.keyRotationWantedAt).toBeInstanceOf(Date);
});
