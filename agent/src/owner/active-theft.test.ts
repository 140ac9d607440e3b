// The theft drill against a segment whose owner holds the root: the thief runs the server, sends agents anything, has
// an agent of their own enrolled, and keeps everything that was ever stored or sent. No secret that was sealed before
// opens.
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import type { AgentMessage, LeaseTarget, SegmentRoster, ServerMessageOf } from '@opsconductor/protocol';
import {
  agentFingerprint,
  encodeBase64,
  generateEncryptionKeyPair,
  generateSigningKeyPair,
  openCredential,
  type Roster,
  type SealedCredential,
  SealingError,
  type SignedRoster,
  sealCredential,
  segmentKeyStatement,
  sign,
  signRoster,
  unwrapSegmentKey,
  wrapSegmentKey,
} from '@opsconductor/protocol/sealing';
import { pino } from 'pino';
import { expect, test } from 'vitest';
import { CredentialOpener } from '../execution/secrets/credential-opener.ts';
import { dataDirectory, prepareDataDirectory } from '../identity/data-directory.ts';
import { readKey } from '../identity/identity.ts';
import { firstSegmentKey, SegmentKeys } from '../identity/segment-keys.ts';
import { emptyPolicy } from '../policy/agent-policy.ts';
import { PolicyGuard } from '../policy/policy-guard.ts';
import { SourceReader } from '../sources/source-reader.ts';
import { temporaryDirectory } from '../testing/enrolled-directory.ts';
import { nextRoster, type RosterDecisions } from './segments/next-roster.ts';

const installationId = 'installation-1';
const segmentId = 3;
const credentialId = randomUUID();
const kind = 'ssh_password' as const;

type Wrap = ServerMessageOf<'segment_state'>['wraps'][number];
type State = Partial<Omit<ServerMessageOf<'segment_state'>, 'type'>>;

/** An agent as it is on its machine, and what its server tells it. */
async function makeAgent(id: number, dir: string, segmentRoot: Uint8Array) {
  const data = dataDirectory(join(dir, `agent-${id}`));
  await prepareDataDirectory(data);
  const signing = await generateSigningKeyPair();
  const encryption = await generateEncryptionKeyPair();
  const ids = { installationId, segmentId, agentId: id, segmentRoot };
  const identity = {
    ...ids,
    encryptionPrivateKey: encryption.privateKey,
    signingPrivateKey: signing.privateKey,
  };
  const open = () => SegmentKeys.open({ data, identity, log: pino({ level: 'silent' }) });
  const first = await firstSegmentKey(data);
  const wrapped = await wrapSegmentKey({
    segmentPrivateKey: first.privateKey,
    recipientPublicKey: encryption.publicKey,
    binding: { installationId, segmentId, generation: 1, recipient: id, segmentPublicKey: first.publicKey },
  });
  const offered = { generation: 1, segmentPublicKey: first.publicKey, wrapped };
  const statement = segmentKeyStatement({ installationId, segmentId, agentId: id, ...offered });
  let keys = await open();
  return {
    id,
    data,
    encryption,
    row: {
      id,
      name: `agent-${id}`,
      state: 'active' as const,
      signingKey: encodeBase64(signing.publicKey),
      encryptionKey: encodeBase64(encryption.publicKey),
    },
    fingerprint: await agentFingerprint({
      ...ids,
      signingKey: signing.publicKey,
      encryptionKey: encryption.publicKey,
    }),
    offer: {
      ...{ agentId: id, generation: 1, publicKey: encodeBase64(first.publicKey), wrapped },
      signature: encodeBase64(await sign(signing.privateKey, statement)),
    },
    keys: () => keys,
    restart: async () => {
      keys = await open();
    },
    /** What the agent replies to what its server says about the segment. */
    async hears(roster: SignedRoster, state: State = {}): Promise<AgentMessage[]> {
      const said: AgentMessage[] = [];
      const message = { type: 'segment_state' as const, roster, wraps: [], wanting: [], ...state };
      await keys.apply(message, (reply) => said.push(reply));
      return said;
    },
  };
}
type Agent = Awaited<ReturnType<typeof makeAgent>>;

const wrapsIn = (said: readonly AgentMessage[]): Wrap[] =>
  said.flatMap((one) =>
    one.type === 'wrapped_key' ? [{ generation: one.generation, wrapped: one.wrapped }] : [],
  );

/** Two agents that the owner has admitted, a secret, and an agent of the thief's that nobody admitted. */
async function setup() {
  const { path, remove } = await temporaryDirectory();
  const root = await generateSigningKeyPair();
  const agents = await Promise.all([1, 2, 66].map((id) => makeAgent(id, path, root.publicKey)));
  const [a, b, thief] = agents as [Agent, Agent, Agent];
  /** Everything that was ever stored or sent. */
  const dump: { wraps: Wrap[] } = { wraps: [] };
  const own = (decisions: Partial<RosterDecisions>, base?: Roster, offers: SegmentRoster['offers'] = []) =>
    nextRoster({
      ...{ installationId, segmentId, rootPublicKey: root.publicKey, base },
      state: { agents: agents.map(({ row }) => row), offers },
      decisions: { admit: new Map(), remove: [], ...decisions },
    }).then(({ roster }) => roster);
  const signed = (roster: Roster, by = root) => signRoster(by.privateKey, roster);
  const admit = new Map([a, b].map(({ row, fingerprint }) => [row.name, fingerprint]));
  const roster = await own({ admit }, undefined, [a.offer]);
  const genuine = await signed(roster);
  const said = await a.hears(genuine, { wanting: [{ agentId: b.id, generation: 1 }] });
  dump.wraps.push({ generation: 1, wrapped: a.offer.wrapped }, ...wrapsIn(said));
  await b.hears(genuine, { wraps: wrapsIn(said) });
  const bounds = {
    ...{ hosts: ['web-1.example'], networks: [], ports: [22], protocols: ['ssh' as const] },
    ...{ user: 'deploy', authentication: ['password' as const] },
  };
  /** Seals as the owner does, to the newest key that this agent has. */
  const seal = async (version: number, by: Agent) => {
    const key = by.keys().newest();
    if (key === undefined) throw new Error('the agent has no segment key');
    const { generation, publicKey: segmentPublicKey } = key;
    const binding = { installationId, credentialId, version, kind, segmentId, generation };
    const secret = { kind, user: 'deploy', password: `password-${version}`, bounds };
    return sealCredential({ segmentPublicKey, binding, secret });
  };
  const sealed = await seal(1, b);
  let newest = roster;
  /** Whether someone with this agent's disk can open it, using every wrap there ever was. */
  const opens = async (by: Agent, what: SealedCredential, version: number): Promise<boolean> => {
    const { generation } = what;
    const named = newest.segmentKeys.filter((key) => key.generation === generation);
    const stored = await readKey(join(by.data.segmentKeys, `${generation}.key`));
    const tried: Uint8Array[] = stored === undefined ? [] : [stored];
    for (const recipient of agents) {
      for (const { wrapped } of dump.wraps) {
        for (const { publicKey } of named) {
          const of = { installationId, segmentId, generation, recipient: recipient.id };
          const binding = { ...of, segmentPublicKey: Buffer.from(publicKey, 'base64') };
          const recipientPrivateKey = by.encryption.privateKey;
          const key = await unwrapSegmentKey({ recipientPrivateKey, wrapped, binding }).catch(refusedOnly);
          if (key !== undefined) tried.push(key);
        }
      }
    }
    const binding = { installationId, credentialId, version, kind, segmentId, generation };
    for (const segmentPrivateKey of tried) {
      const opened = await openCredential({ segmentPrivateKey, binding, sealed: what }).catch(refusedOnly);
      if (opened !== undefined) return true;
    }
    return false;
  };
  return {
    ...{ root, a, b, thief, dump, roster, genuine, sealed, seal, opens, own, signed },
    /** The owner removes an agent after its peer has made the next key. */
    async revoke(gone: Agent, peer: Agent) {
      const [made] = (await peer.hears(genuine, { makeGeneration: 2 })).filter(
        (one) => one.type === 'segment_key_made',
      );
      if (made?.type !== 'segment_key_made') throw new Error('no key was made');
      const { generation, segmentPublicKey: publicKey, wrapped, signature } = made;
      const offers = [{ agentId: peer.id, generation, publicKey, wrapped, signature }];
      newest = await own({ remove: [gone.row.name] }, roster, offers);
      const next = await signed(newest);
      dump.wraps.push(
        { generation, wrapped },
        ...wrapsIn(await peer.hears(next, { wraps: [{ generation, wrapped }] })),
      );
      return next;
    },
    [Symbol.asyncDispose]: remove,
  };
}

function refusedOnly(error: unknown): undefined {
  if (!(error instanceof SealingError)) throw error;
  return undefined;
}

test('an agent that the thief has inserted gets no key by any roster that the thief can make', async () => {
  await using t = await setup();
  const wanting = [{ agentId: t.thief.id, generation: 1 }];
  const { id: agentId, row } = t.thief;
  const { name, signingKey, encryptionKey } = row;
  const inserted = {
    ...t.roster,
    number: 9,
    agents: [...t.roster.agents, { agentId, name, signingKey, encryptionKey }],
  };
  const ofTheirs = await generateSigningKeyPair();
  const rosters = [
    t.genuine,
    await t.signed(inserted, ofTheirs),
    { payload: JSON.stringify(inserted), signature: t.genuine.signature },
  ];
  for (const roster of rosters) {
    for (const agent of [t.a, t.b]) t.dump.wraps.push(...wrapsIn(await agent.hears(roster, { wanting })));
  }
  expect(t.dump.wraps).toHaveLength(2);
  expect([t.a.keys().rosterNumber, t.b.keys().rosterNumber]).toEqual([1, 1]);
  expect(await t.opens(t.thief, t.sealed, 1)).toBe(false);
  // The search would find it: an admitted agent's key opens it the same way.
  expect(await t.opens(t.b, t.sealed, 1)).toBe(true);
});

test('swapped keys of a member are refused by agents, and by the owner before signing', async () => {
  await using t = await setup();
  const agents = t.roster.agents.map((member) =>
    member.agentId === t.b.id ? { ...member, encryptionKey: t.thief.row.encryptionKey } : member,
  );
  const swapped = { ...t.roster, number: 2, agents };
  const wanting = [{ agentId: t.b.id, generation: 1 }];
  const forged = { payload: JSON.stringify(swapped), signature: t.genuine.signature };
  expect(await t.a.hears(forged, { wanting })).toEqual([]);
  // The server shows the thief's keys under the name of an agent that waits.
  const admit = new Map([[t.thief.row.name, t.b.fingerprint]]);
  await expect(t.own({ admit }, t.roster)).rejects.toThrow('do not match');
  expect(await t.opens(t.thief, t.sealed, 1)).toBe(false);
});

test('an agent that was led to pin another root is not admitted, and would accept nothing from this one', async () => {
  await using t = await setup();
  const { path, remove } = await temporaryDirectory();
  try {
    const misled = await makeAgent(7, path, (await generateSigningKeyPair()).publicKey);
    const admit = new Map([[misled.row.name, misled.fingerprint]]);
    const { rootPublicKey, state } = {
      rootPublicKey: t.root.publicKey,
      state: { agents: [misled.row], offers: [] },
    };
    const input = { installationId, segmentId, rootPublicKey, base: t.roster, state };
    await expect(nextRoster({ ...input, decisions: { admit, remove: [] } })).rejects.toThrow('do not match');
    expect(await misled.hears(t.genuine)).toEqual([]);
  } finally {
    await remove();
  }
});

test('rolled-back rosters bring no revoked agent back, and get it no newer key', async () => {
  await using t = await setup();
  const next = await t.revoke(t.b, t.a);
  const wanting = [1, 2].map((generation) => ({ agentId: t.b.id, generation }));
  const before = t.dump.wraps.length;
  for (const roster of [t.genuine, next]) t.dump.wraps.push(...wrapsIn(await t.a.hears(roster, { wanting })));
  await t.a.restart();
  for (const roster of [t.genuine, next]) t.dump.wraps.push(...wrapsIn(await t.a.hears(roster, { wanting })));
  expect(t.dump.wraps).toHaveLength(before);
  expect(t.a.keys().generations).toEqual([1, 2]);
});

test('a revoked key opens no newer version, even with every later dump', async () => {
  await using t = await setup();
  await t.revoke(t.b, t.a);
  const sealed = await t.seal(2, t.a);
  expect(sealed.generation).toBe(2);
  expect(await t.opens(t.b, sealed, 2)).toBe(false);
  expect(await t.opens(t.thief, sealed, 2)).toBe(false);
  expect(await t.opens(t.a, sealed, 2)).toBe(true);
  // It can always open what it could open before it was revoked: that is listed as to be rotated.
  expect(await t.opens(t.b, t.sealed, 1)).toBe(true);
});

test('wraps that are replayed to another agent, or as another generation, hold no key for it', async () => {
  await using t = await setup();
  const next = await t.revoke(t.b, t.a);
  const replayed = t.dump.wraps.flatMap(({ wrapped }) =>
    [1, 2].map((generation) => ({ generation, wrapped })),
  );
  await t.thief.hears(next, { wraps: replayed });
  expect(t.thief.keys().generations).toEqual([]);
  await t.b.hears(next, { wraps: replayed });
  expect(t.b.keys().generations).toEqual([1]);
  expect(await t.opens(t.thief, t.sealed, 1)).toBe(false);
});

test('a target that was redirected to another host, port or user gets no login, and neither does a credential in another’s place', async () => {
  await using t = await setup();
  const noPolicy = new PolicyGuard({ policy: emptyPolicy });
  const opener = new CredentialOpener({
    installationId,
    segmentId,
    segmentPrivateKey: (generation) => t.a.keys().privateKey(generation),
    monotonicMs: () => 0,
    policy: noPolicy,
    sources: new SourceReader({ policy: noPolicy, monotonicMs: () => 0, environment: {} }),
  });
  const target: LeaseTarget = { id: 1, name: 'web-1', host: 'web-1.example', port: 22, hostKeys: [] };
  const credential = { id: credentialId, version: 1, kind, sealed: t.sealed };
  await expect(opener.open(credential, target)).resolves.toBeDefined();
  for (const led of [{ host: 'thief.example' }, { port: 2222 }, { username: 'root' }]) {
    await expect(opener.open(credential, { ...target, ...led })).rejects.toMatchObject({
      reason: 'credential_bounds',
    });
  }
  for (const other of [{ id: randomUUID() }, { version: 2 }]) {
    await expect(opener.open({ ...credential, ...other }, target)).rejects.toMatchObject({
      reason: 'credential_unusable',
    });
  }
});
