// An owner's segment with a server that may show other things than were signed.
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { SegmentRoster } from '@opsconductor/protocol';
import {
  agentFingerprint,
  decodeBase64,
  encodeBase64,
  fingerprint,
  generateEncryptionKeyPair,
  generateSigningKeyPair,
  openCredential,
  type Roster,
  type SealedCredential,
  type SignedRoster,
  signRoster,
} from '@opsconductor/protocol/sealing';
import { expect, test } from 'vitest';
import { AgentError } from '../../agent-error.ts';
import type { Api } from '../../start-run/api-client.ts';
import { KnownRoots } from '../../start-run/known-roots.ts';
import { temporaryDirectory } from '../../testing/enrolled-directory.ts';
import { type SealRequest, storeSealed } from '../credentials/seal-credential.ts';
import { describeOwned } from './describe-owned.ts';
import { initSegment, keepSeen, readOwned, type SignHow, signNextRoster } from './owned-segment.ts';

const installationId = 'installation-1';
const segmentId = 3;

async function setup() {
  const { path, remove } = await temporaryDirectory();
  const file = join(path, 'roots.json');
  const pair = await generateSigningKeyPair();
  const root = { purpose: 'root' as const, ...pair };
  const key = await generateEncryptionKeyPair();
  const segmentKeys = [{ generation: 1, publicKey: encodeBase64(key.publicKey) }];
  const first: Roster = {
    ...{ installationId, segmentId, number: 1, agents: [], revoked: [] },
    ...{ segmentKeys, currentGeneration: 1 },
  };
  const state: SegmentRoster = {
    ...{
      installationId,
      segmentId,
      segmentName: 'dmz',
      root: 'owner_held',
      roster: null,
      agents: [],
      offers: [],
    },
    rootPublicKey: encodeBase64(root.publicKey),
  };
  const sent: { path: string; body: unknown }[] = [];
  const server = { state, sent, refuses: false, segments: [] as object[] };
  const sealingKey = () => ({
    ...{
      installationId,
      segmentId: server.state.segmentId,
      generation: 1,
      publicKey: segmentKeys[0]?.publicKey,
    },
    ...{ rootPublicKey: server.state.rootPublicKey, roster: server.state.roster },
  });
  const api = {
    async get(asked: string) {
      if (asked === '/api/v1/segments') return { items: server.segments, named: [], nextCursor: null };
      if (asked.includes('sealing-key')) return sealingKey();
      return asked.includes('credentials') ? { items: [], nextCursor: null } : server.state;
    },
    async post(asked: string, body: unknown) {
      if (server.refuses) throw new Error('the server is gone');
      sent.push({ path: asked, body });
      if (asked.endsWith('/roster')) server.state = { ...server.state, roster: body as SignedRoster };
      return { id: segmentId, rootFingerprint: await fingerprint(root.publicKey), version: 1, generation: 1 };
    },
  } as unknown as Api;
  const roots = () => KnownRoots.read(file, false);
  await initSegment(api, await roots(), { name: 'dmz', rootPublicKey: root.publicKey });
  const read = async () => readOwned(api, (await roots()).named('dmz'), root.publicKey);
  const recoveryKey = async () => encodeBase64((await generateEncryptionKeyPair()).publicKey);
  return {
    ...{ folder: path, root, key, first, server, sent, roots, read, api, recoveryKey },
    signed: (roster: Partial<Roster>, by = pair) => signRoster(by.privateKey, { ...first, ...roster }),
    /** The owner signs something that is new in each roster. */
    sign: async ({
      remove = [],
      admit = [],
      ...how
    }: SignHow & { remove?: string[]; admit?: [string, string][] } = {}) => {
      const decisions = { admit: new Map(admit), remove, recoveryKey: await recoveryKey() };
      return signNextRoster({ root, roots: await roots(), api }, await read(), decisions, how);
    },
    [Symbol.asyncDispose]: remove,
  };
}

test('each roster builds on the previous one, and is kept here before it is sent', async () => {
  await using t = await setup();
  t.server.state = { ...t.server.state, roster: await t.signed({}) };
  expect(await t.sign()).toEqual(['names the recovery key']);
  expect((await t.read()).roster?.number).toBe(2);
  t.server.refuses = true;
  await expect(t.sign()).rejects.toThrow('the server is gone');
  t.server.refuses = false;
  expect(await t.read()).toMatchObject({ isBehind: true, roster: { number: 3 } });
  const owned = await t.read();
  const nothing = { admit: new Map<string, string>(), remove: [] };
  expect(await signNextRoster({ ...t, roots: await t.roots() }, owned, nothing)).toEqual([
    'roster 3 was sent again',
  ]);
  expect(await signNextRoster({ ...t, roots: await t.roots() }, await t.read(), nothing)).toEqual([]);
});

test('a segment that was made before is kept again, with the rosters that were seen', async () => {
  await using t = await setup();
  t.server.state = { ...t.server.state, roster: await t.signed({}) };
  await t.sign();
  t.server.segments = [{ id: segmentId, name: 'dmz', rootFingerprint: await fingerprint(t.root.publicKey) }];
  const count = t.sent.length;
  await initSegment(t.api, await t.roots(), { name: 'dmz', rootPublicKey: t.root.publicKey });
  expect(t.sent).toHaveLength(count);
  expect((await t.roots()).named('dmz').rosterNumber).toBe(2);
});

test('if the server shows an older roster, none is built on that', async () => {
  await using t = await setup();
  t.server.state = { ...t.server.state, roster: await t.signed({}) };
  await t.sign();
  await t.sign();
  t.server.state = { ...t.server.state, roster: await t.signed({}) };
  // The newest roster that is kept here is built on.
  await t.sign();
  expect((await t.read()).roster?.number).toBe(4);
});

test('another root, another signature and a second roster with the same number are refused', async () => {
  await using t = await setup();
  const stranger = await generateSigningKeyPair();
  const genuine = { ...t.server.state, roster: await t.signed({}) };
  t.server.state = { ...genuine, roster: await t.signed({}, stranger) };
  await expect(t.read()).rejects.toThrow('not genuine');
  t.server.state = { ...genuine, rootPublicKey: encodeBase64(stranger.publicKey) };
  await expect(t.read()).rejects.toThrow('another root');
  t.server.state = genuine;
  await t.sign();
  t.server.state = { ...genuine, roster: await t.signed({ number: 2 }) };
  await expect(t.read()).rejects.toThrow('two rosters 2');
  await expect(readOwned(t.api, (await t.roots()).named('dmz'), stranger.publicKey)).rejects.toThrow(
    'this key is',
  );
});

test('a credential is sealed to the key that the known root names, and to no other', async () => {
  await using t = await setup();
  t.server.state = { ...t.server.state, roster: await t.signed({ number: 2 }) };
  const bounds = {
    ...{ hosts: ['*.example'], networks: [], ports: [22], protocols: ['ssh' as const], user: 'deploy' },
    authentication: ['password' as const],
  };
  const secret = { kind: 'ssh_password' as const, user: 'deploy', password: 'correct horse', bounds };
  const request: SealRequest = { segmentName: 'dmz', name: 'deploy', secret, replace: false };
  const seal = async (more: Partial<SealRequest> = {}) =>
    storeSealed(t.api, await t.roots(), { ...request, ...more });
  await seal();
  const [{ id, sealed }] = t.sent.slice(-1).map(({ body }) => body) as [
    { id: string; sealed: SealedCredential },
  ];
  const binding = {
    installationId,
    credentialId: id,
    version: 1,
    kind: secret.kind,
    segmentId,
    generation: 1,
  };
  expect(await openCredential({ segmentPrivateKey: t.key.privateKey, binding, sealed })).toEqual(secret);
  const count = t.sent.length;
  await expect(seal({ replace: true })).rejects.toThrow('no credential named deploy');
  await expect(seal({ secret: { ...secret, bounds: { ...bounds, hosts: [] } } })).rejects.toThrow(
    'bounds.hosts',
  );
  const genuine = t.server.state;
  t.server.state = { ...genuine, roster: await t.signed({}) };
  await expect(seal()).rejects.toThrow('older than 2');
  t.server.state = { ...genuine, segmentId: 4 };
  await expect(seal()).rejects.toThrow('another segment');
  const stranger = await generateSigningKeyPair();
  t.server.state = {
    ...genuine,
    rootPublicKey: encodeBase64(stranger.publicKey),
    roster: await t.signed({}, stranger),
  };
  await expect(seal()).rejects.toThrow('The root of segment dmz is');
  expect(t.sent).toHaveLength(count);
});

test('a credential is sealed to a segment that is not known here only if it may be learned, and then to that root', async () => {
  await using t = await setup();
  t.server.state = { ...t.server.state, segmentName: 'office', roster: await t.signed({ number: 2 }) };
  t.server.segments = [
    { id: segmentId, name: 'office', rootFingerprint: await fingerprint(t.root.publicKey) },
  ];
  const file = join(t.folder, 'learned.json');
  const bounds = {
    ...{ hosts: ['*'], networks: [], ports: [22], protocols: ['ssh' as const], user: 'deploy' },
    authentication: ['password' as const],
  };
  const secret = { kind: 'ssh_password' as const, user: 'deploy', password: 'correct horse', bounds };
  const seal = async (learns: boolean, segmentName = 'office') =>
    storeSealed(t.api, await KnownRoots.read(file, learns), {
      segmentName,
      name: 'deploy',
      secret,
      replace: false,
    });
  await expect(seal(false)).rejects.toThrow('Segment office is not in');
  await expect(seal(true, 'lab')).rejects.toThrow('no segment named lab');
  await seal(true);
  await seal(false);
  expect(t.sent.filter(({ path }) => path.endsWith('/credentials'))).toHaveLength(2);
  const stranger = await generateSigningKeyPair();
  const rootPublicKey = encodeBase64(stranger.publicKey);
  t.server.state = { ...t.server.state, rootPublicKey, roster: await t.signed({ number: 2 }, stranger) };
  await expect(seal(true)).rejects.toThrow('The root of segment office is');
});

test('nothing is signed on a roster that drops a segment key of an older one, unless the owner confirms it', async () => {
  await using t = await setup();
  const publicKey = encodeBase64((await generateEncryptionKeyPair()).publicKey);
  const segmentKeys = [...t.first.segmentKeys, { generation: 2, publicKey }];
  const withKey = { segmentKeys, currentGeneration: 2 };
  t.server.state = { ...t.server.state, roster: await t.signed({ number: 2 }) };
  await t.sign();
  // The right backup is back: another machine had signed the roster that the server has.
  t.server.state = { ...t.server.state, roster: await t.signed({ number: 2, ...withKey }) };
  t.sent.length = 0;
  for (const dropsLost of [false, true]) {
    await expect(t.sign({ dropsLost })).rejects.toThrow(
      /^Roster 3 of segment dmz, which is kept here, does not name generation 2 .* roster 2, which the server has, does/,
    );
  }
  // The server would refuse it, so it is not kept either: the other machine's next roster is built on.
  expect([t.sent, (await t.roots()).named('dmz').rosterNumber]).toEqual([[], 3]);
  // The same after the other machine has signed another one.
  t.server.state = { ...t.server.state, roster: await t.signed({ number: 4, ...withKey }) };
  await t.sign();
  t.server.state = { ...t.server.state, roster: await t.signed({ number: 6 }) };
  t.sent.length = 0;
  await expect(t.sign()).rejects.toThrow('Roster 6 of segment dmz does not name generation 2');
  expect(t.sent).toEqual([]);
  expect(await t.sign({ dropsLost: true })).toEqual([
    'names the recovery key',
    'drops a generation 2 of the segment key: seal again whatever was sealed to it',
  ]);
});

test('nothing is signed on a roster that is older than one an agent says it has seen, unless the owner confirms it', async () => {
  await using t = await setup();
  const seenNewer = [{ name: 'dmz-a', rosterNumber: 3 }];
  t.server.state = { ...t.server.state, roster: await t.signed({ number: 2 }), seenNewer };
  t.sent.length = 0;
  await expect(t.sign()).rejects.toThrow(
    /^Agent dmz-a says that it has seen roster 3 .* the newest one here is 2/,
  );
  expect(t.sent).toEqual([]);
  await t.sign({ dropsLost: true });
  // That is a roster that has been signed here since.
  expect(await t.sign()).toEqual(['names the recovery key']);
});

async function member(agentId: number): Promise<Roster['agents'][number]> {
  const [signing, encryption] = [await generateSigningKeyPair(), await generateEncryptionKeyPair()];
  const keys = {
    signingKey: encodeBase64(signing.publicKey),
    encryptionKey: encodeBase64(encryption.publicKey),
  };
  return { agentId, name: `agent-${agentId}`, ...keys };
}

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

test('what other commands save while one waits for a passphrase is kept', async () => {
  await using t = await setup();
  t.server.state = { ...t.server.state, roster: await t.signed({}) };
  const [waiting, owned] = [await t.roots(), await t.read()];
  const other = await t.roots();
  other.put({ ...other.named('dmz'), segmentId: 4, segmentName: 'prod', rosterNumber: 7 });
  await other.save();
  const decisions = { admit: new Map<string, string>(), remove: [], recoveryKey: await t.recoveryKey() };
  await signNextRoster({ ...t, roots: waiting }, owned, decisions);
  expect((await t.roots()).named('prod').rosterNumber).toBe(7);
  expect((await t.roots()).named('dmz').rosterNumber).toBe(2);
});

test('of commands that save at the same moment none loses what another has saved', async () => {
  await using t = await setup();
  const commands = await Promise.all(Array.from({ length: 8 }, () => t.roots()));
  for (const [n, roots] of commands.entries())
    roots.put({ ...roots.named('dmz'), segmentId: 10 + n, segmentName: `plant-${n}` });
  await Promise.all(commands.map((roots) => roots.save()));
  const roots = await t.roots();
  for (const n of commands.keys()) expect(roots.named(`plant-${n}`).segmentId).toBe(10 + n);
  expect((await readdir(t.folder)).filter((name) => name.startsWith('roots.json'))).toEqual(['roots.json']);
});

test('of two commands that sign at once only one is kept and sent: there are no two rosters of a number', async () => {
  await using t = await setup();
  t.server.state = { ...t.server.state, roster: await t.signed({}) };
  const [waiting, owned] = [await t.roots(), await t.read()];
  await t.sign();
  const kept = (await t.roots()).named('dmz');
  t.sent.length = 0;
  const decisions = { admit: new Map<string, string>(), remove: [], recoveryKey: await t.recoveryKey() };
  await expect(signNextRoster({ ...t, roots: waiting }, owned, decisions)).rejects.toThrow(
    'Another command has changed what is known of segment dmz meanwhile.',
  );
  expect(t.sent).toEqual([]);
  expect((await t.roots()).named('dmz')).toEqual(kept);
});

test('the highest number that any of several commands has seen stays in the file', async () => {
  await using t = await setup();
  const [first, second] = [await t.roots(), await t.roots()];
  second.put({ ...second.named('dmz'), rosterNumber: 6 });
  await second.save();
  first.put({ ...first.named('dmz'), rosterNumber: 5 });
  await first.save();
  expect((await t.roots()).named('dmz').rosterNumber).toBe(6);
});

test('a roster that was only looked at is kept, and no older one is built on afterwards', async () => {
  await using t = await setup();
  t.server.state = { ...t.server.state, roster: await t.signed({ number: 5 }) };
  // Sealing notes the number alone.
  const roots = await t.roots();
  roots.put({ ...roots.named('dmz'), rosterNumber: 5 });
  await roots.save();
  await keepSeen(await t.roots(), await t.read());
  t.server.state = { ...t.server.state, roster: await t.signed({ number: 4 }) };
  expect(await t.read()).toMatchObject({ isBehind: true, roster: { number: 5 } });
  await t.sign();
  expect((await t.read()).shown?.number).toBe(6);
});

test('a roster that drops a key, or an agent’s removal, does not take the place of the one that is kept', async () => {
  await using t = await setup();
  const publicKey = encodeBase64((await generateEncryptionKeyPair()).publicKey);
  const segmentKeys = [...t.first.segmentKeys, { generation: 2, publicKey }];
  const agents = [await member(2)];
  for (const [kept, shown] of [
    [{ segmentKeys, currentGeneration: 2 }, {}],
    [{ revoked: [{ agentId: 2, atNumber: 3 }] }, { agents }],
    [{ revoked: [{ agentId: 2, atNumber: 3 }] }, {}],
  ]) {
    const signed = await t.signed({ number: 3, ...kept });
    const roots = await t.roots();
    roots.put({ ...roots.named('dmz'), rosterNumber: 3, signed });
    await roots.save();
    t.server.state = { ...t.server.state, roster: await t.signed({ number: 4, ...shown }) };
    await keepSeen(await t.roots(), await t.read());
    expect((await t.roots()).named('dmz').signed).toEqual(signed);
  }
});

test('a name that would be a command, once it is copied from what the owner is told, is not shown as an agent’s', async () => {
  await using t = await setup();
  const { signingKey, encryptionKey } = await member(2);
  const agent = { id: 2, name: 'a', state: 'active' as const, signingKey, encryptionKey };
  for (const name of ['a; reboot', 'a=SHA256:x --admit b', '$(reboot)', 'A', '']) {
    t.server.state = { ...t.server.state, agents: [{ ...agent, name }], seenNewer: [] };
    await expect(t.read()).rejects.toThrow('which is no name of an agent');
    t.server.state = { ...t.server.state, agents: [agent], seenNewer: [{ name, rosterNumber: 9 }] };
    await expect(t.read()).rejects.toThrow('which is no name of an agent');
  }
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
