import {
  agentFingerprint,
  decodeBase64,
  encodeBase64,
  generateEncryptionKeyPair,
  generateSegmentKey,
  generateSigningKeyPair,
  keyChangeStatement,
  type Roster,
  segmentKeyStatement,
  sign,
} from '@opsconductor/protocol/sealing';
import { expect, test } from 'vitest';
import { nextRoster, type RosterDecisions } from './next-roster.ts';

const installationId = 'installation-1';
const segmentId = 3;

async function setup() {
  const root = await generateSigningKeyPair();
  const of = { installationId, segmentId };
  const agent = async (id: number) => {
    const signing = await generateSigningKeyPair();
    const encryption = await generateEncryptionKeyPair();
    const keys = { signingKey: signing.publicKey, encryptionKey: encryption.publicKey };
    const offer = async (generation: number, old?: string) => {
      const publicKey = old === undefined ? (await generateSegmentKey()).publicKey : decodeBase64(old);
      const statement = segmentKeyStatement({
        ...{ ...of, agentId: id, generation },
        ...{ segmentPublicKey: publicKey, wrapped: 'w' },
      });
      const signature = encodeBase64(await sign(signing.privateKey, statement));
      return { agentId: id, generation, publicKey: encodeBase64(publicKey), wrapped: 'w', signature };
    };
    return {
      id,
      name: `agent-${id}`,
      state: 'active' as const,
      signingKey: encodeBase64(signing.publicKey),
      encryptionKey: encodeBase64(encryption.publicKey),
      fingerprint: (segmentRoot: Uint8Array = root.publicKey) =>
        agentFingerprint({ ...of, segmentRoot, ...keys }),
      offer,
      /** The agent's statement about keys that are going to replace its own. */
      change: async () => {
        const [next, box] = [await generateSigningKeyPair(), await generateEncryptionKeyPair()];
        const statement = keyChangeStatement({
          ...{ ...of, agentId: id, oldSigningKey: signing.publicKey },
          ...{ signingKey: next.publicKey, encryptionKey: box.publicKey },
        });
        return {
          agentId: id,
          signingKey: encodeBase64(next.publicKey),
          encryptionKey: encodeBase64(box.publicKey),
          signature: encodeBase64(await sign(signing.privateKey, statement)),
        };
      },
    };
  };
  const agents = [await agent(1), await agent(2)] as const;
  const next = (
    base: Roster | undefined,
    decisions: Partial<RosterDecisions>,
    state: Partial<Parameters<typeof nextRoster>[0]['state']> = {},
  ) =>
    nextRoster({
      ...of,
      rootPublicKey: root.publicKey,
      base,
      state: { agents: [...agents], offers: [], ...state },
      decisions: { admit: new Map(), remove: [], ...decisions },
    });
  const [a, b] = agents;
  const first = async () => {
    const admit = new Map([
      [a.name, await a.fingerprint()],
      [b.name, await b.fingerprint()],
    ]);
    return (await next(undefined, { admit }, { offers: [await a.offer(1)] })).roster;
  };
  return { root, a, b, next, first };
}

test('the first roster has the agents whose fingerprints were given, and a key that one of them made', async () => {
  const t = await setup();
  const offers = [await t.a.offer(1), await t.b.offer(1)];
  const { roster, changes } = await t.next(
    undefined,
    { admit: new Map([[t.b.name, await t.b.fingerprint()]]) },
    { offers },
  );
  expect(roster).toMatchObject({
    number: 1,
    agents: [{ agentId: 2, name: 'agent-2', encryptionKey: t.b.encryptionKey }],
    // The offer of the agent that is not admitted is ignored.
    segmentKeys: [{ generation: 1, publicKey: offers[1]?.publicKey }],
    revoked: [],
  });
  expect(changes).toEqual(['admits agent agent-2', 'names generation 1 of the segment key']);
  await expect(t.next(undefined, {})).rejects.toThrow('No admitted agent has made');
});

test('an agent with another key than its machine shows, or led to another root, is not admitted', async () => {
  const t = await setup();
  const fingerprint = await t.a.fingerprint();
  const { encryptionKey } = t.b;
  const swapped = { agents: [{ ...t.a, encryptionKey }], offers: [await t.a.offer(1)] };
  const admit = new Map([[t.a.name, fingerprint]]);
  await expect(t.next(undefined, { admit }, swapped)).rejects.toThrow(`do not match ${fingerprint}`);
  const misled = await t.a.fingerprint((await generateSigningKeyPair()).publicKey);
  await expect(t.next(undefined, { admit: new Map([[t.a.name, misled]]) })).rejects.toThrow(
    `do not match ${misled}`,
  );
  await expect(t.next(undefined, { admit: new Map([['other', misled]]) })).rejects.toThrow('No agent other');
});

test('a segment key that its maker did not sign stops the owner', async () => {
  const t = await setup();
  const { publicKey } = await generateSegmentKey();
  const offers = [{ ...(await t.a.offer(1)), publicKey: encodeBase64(publicKey) }];
  const admit = new Map([[t.a.name, await t.a.fingerprint()]]);
  await expect(t.next(undefined, { admit }, { offers })).rejects.toThrow('is not signed by it');
});

test('a member that offers an old segment key as the next one is named, and can be removed', async () => {
  const t = await setup();
  const base = await t.first();
  const [old] = base.segmentKeys;
  const offers = [await t.b.offer(2, old?.publicKey), await t.a.offer(2)];
  await expect(t.next(base, {}, { offers })).rejects.toMatchObject({
    message: 'What agent agent-2 offers as the next segment key is one that the roster names already.',
    fix: expect.stringContaining('--remove agent-2'),
  });
  const { roster } = await t.next(base, { remove: [t.b.name] }, { offers });
  expect(roster).toMatchObject({ currentGeneration: 2, agents: [{ agentId: 1 }] });
  // A server can't blame an agent that has not signed it.
  const forged = [{ ...(await t.b.offer(2)), publicKey: old?.publicKey ?? '' }];
  await expect(t.next(base, {}, { offers: forged })).rejects.toThrow('is not signed by it');
});

test('the owner is told that a removed agent may have the newest key', async () => {
  const t = await setup();
  const base = await t.first();
  const { changes } = await t.next(base, { remove: [t.a.name] });
  expect(changes).toEqual([
    'removes agent agent-1',
    expect.stringMatching(/keeps generation 1 .* seal nothing until a second signing/),
  ]);
});

test('a removed agent stays listed as removed, and a member’s next key is named', async () => {
  const t = await setup();
  const base = await t.first();
  const offers = [await t.a.offer(2), await t.b.offer(2)];
  const { roster } = await t.next(base, { remove: [t.a.name] }, { offers });
  expect(roster).toMatchObject({
    number: 2,
    agents: [{ agentId: 2 }],
    segmentKeys: [base.segmentKeys[0], { generation: 2, publicKey: offers[1]?.publicKey }],
    currentGeneration: 2,
    revoked: [{ agentId: 1, atNumber: 2 }],
  });
  await expect(t.next(base, { remove: ['agent-9'] })).rejects.toThrow('no agent agent-9');
  const admit = new Map([[t.a.name, await t.a.fingerprint()]]);
  await expect(t.next(base, { admit })).rejects.toThrow('already names agent agent-1');
  // A restored database has given out its number a second time.
  await expect(t.next(roster, { admit })).rejects.toThrow(
    'agent-1 has the number of an agent that was removed',
  );
  expect((await t.next(base, {})).changes).toEqual([]);
});

test('no roster is signed that still names a revoked agent: it would get the next key', async () => {
  const t = await setup();
  const base = await t.first();
  const agents = [t.a, { ...t.b, state: 'revoked' as const }];
  const offers = [await t.a.offer(2)];
  await expect(t.next(base, {}, { agents, offers })).rejects.toMatchObject({
    message: expect.stringContaining('agent-2 was revoked'),
    fix: expect.stringContaining('--remove agent-2'),
  });
  const { roster } = await t.next(base, { remove: [t.b.name] }, { agents, offers });
  expect(roster).toMatchObject({ agents: [{ agentId: 1 }], currentGeneration: 2 });
});

test('new keys of a member are named if its previous keys have signed them, and stop the owner otherwise', async () => {
  const t = await setup();
  const base = await t.first();
  const change = await t.a.change();
  const { roster, changes } = await t.next(base, {}, { keyChanges: [change] });
  expect(changes).toEqual([
    `names the new keys of agent ${t.a.name}, which it has signed with its previous ones`,
  ]);
  const { signingKey, encryptionKey } = change;
  expect(roster.agents[0]).toEqual({ agentId: t.a.id, name: t.a.name, signingKey, encryptionKey });
  expect(roster.agents[1]).toEqual(base.agents[1]);
  const swapped = { ...change, encryptionKey: t.b.encryptionKey };
  const ofAnother = { ...(await t.b.change()), agentId: t.a.id };
  // Once the agent is known by the new keys, the previous ones can sign no others.
  const again = { base: roster, change };
  for (const [from, wrong] of [
    [base, swapped],
    [base, ofAnother],
    [again.base, again.change],
  ] as const)
    await expect(t.next(from, {}, { keyChanges: [wrong] })).rejects.toThrow(
      'not signed with the keys that it has',
    );
  const removed = await t.next(base, { remove: [t.a.name] }, { keyChanges: [change] });
  expect(removed.roster.agents.map(({ agentId }) => agentId)).toEqual([t.b.id]);
});

test('a member that has made the next segment key and waits with new keys of its own gets both, even if another is removed', async () => {
  const t = await setup();
  const base = await t.first();
  const state = { keyChanges: [await t.a.change()], offers: [await t.a.offer(2)] };
  const { roster } = await t.next(base, { remove: [t.b.name] }, state);
  expect(roster).toMatchObject({
    agents: [{ agentId: t.a.id, signingKey: state.keyChanges[0]?.signingKey }],
    currentGeneration: 2,
  });
});
