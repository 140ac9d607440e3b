import { mkdir, readdir, readFile, rename, rm, rmdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { AgentMessage, ServerMessageOf } from '@opsconductor/protocol';
import {
  encodeBase64,
  generateEncryptionKeyPair,
  generateSegmentKey,
  generateSigningKeyPair,
  type KeyPair,
  type Roster,
  segmentKeyStatement,
  signRoster,
  unwrapSegmentKey,
  verifyBase64,
  wrapSegmentKey,
} from '@opsconductor/protocol/sealing';
import { pino } from 'pino';
import { expect, test, vi } from 'vitest';
import { temporaryDirectory } from '../testing/enrolled-directory.ts';
import { dataDirectory, prepareDataDirectory } from './data-directory.ts';
import { readKey } from './identity.ts';
import { firstSegmentKey, SegmentKeys } from './segment-keys.ts';

const installationId = 'installation-1';
const segmentId = 3;
const agentId = 7;
const peerId = 8;

async function setup() {
  const { path, remove } = await temporaryDirectory();
  const data = dataDirectory(join(path, 'data'));
  await prepareDataDirectory(data);
  const root = await generateSigningKeyPair();
  const mine = await generateEncryptionKeyPair();
  const signing = await generateSigningKeyPair();
  const peer = await generateEncryptionKeyPair();
  const segment = await generateSegmentKey();
  const identity = {
    installationId,
    segmentId,
    agentId,
    segmentRoot: root.publicKey,
    encryptionPrivateKey: mine.privateKey,
    signingPrivateKey: signing.privateKey,
  };
  const member = async (id: number, key: KeyPair) => ({
    agentId: id,
    name: `agent-${id}`,
    signingKey: encodeBase64((await generateSigningKeyPair()).publicKey),
    encryptionKey: encodeBase64(key.publicKey),
  });
  const roster: Roster = {
    installationId,
    segmentId,
    number: 2,
    agents: [await member(agentId, mine), await member(peerId, peer)],
    segmentKeys: [{ generation: 1, publicKey: encodeBase64(segment.publicKey) }],
    currentGeneration: 1,
    revoked: [],
  };
  const binding = (recipient: number) => ({
    installationId,
    segmentId,
    generation: 1,
    recipient,
    segmentPublicKey: segment.publicKey,
  });
  const replies: AgentMessage[] = [];
  const open = () => SegmentKeys.open({ data, identity, log: pino({ level: 'silent' }) });
  const keys = await open();
  return {
    data,
    root,
    mine,
    signing,
    peer,
    segment,
    roster,
    binding,
    replies,
    keys,
    open,
    member,
    wrapForMe: () =>
      wrapSegmentKey({
        segmentPrivateKey: segment.privateKey,
        recipientPublicKey: mine.publicKey,
        binding: binding(agentId),
      }),
    async apply(
      more: Partial<Omit<ServerMessageOf<'segment_state'>, 'type'>> = {},
      signer: KeyPair = root,
      changed: Partial<Roster> = {},
    ) {
      await keys.apply(
        {
          type: 'segment_state',
          roster: await signRoster(signer.privateKey, { ...roster, ...changed }),
          wraps: [],
          wanting: [],
          ...more,
        },
        (message) => replies.push(message),
      );
    },
    [Symbol.asyncDispose]: remove,
  };
}

test('a wrapped key is opened, kept for the next process and reported', async () => {
  await using t = await setup();
  await t.apply({ wraps: [{ generation: 1, wrapped: await t.wrapForMe() }] });
  expect(t.replies).toEqual([{ type: 'segment_ready', rosterNumber: 2, generations: [1] }]);
  expect(t.keys.privateKey(1)).toEqual(t.segment.privateKey);
  const later = await t.open();
  expect([later.rosterNumber, later.privateKey(1)]).toEqual([2, new Uint8Array(t.segment.privateKey)]);
});

test('a roster that the disk refuses changes nothing, and is accepted once the disk is writable', async () => {
  await using t = await setup();
  await rename(t.data.root, `${t.data.root}.away`);
  await t.apply({ wraps: [{ generation: 1, wrapped: await t.wrapForMe() }] });
  await t.keys.retry();
  expect([t.replies, t.keys.rosterNumber]).toEqual([[], 0]);
  await rename(`${t.data.root}.away`, t.data.root);
  await t.keys.retry();
  expect(t.replies).toEqual([{ type: 'segment_ready', rosterNumber: 2, generations: [1] }]);
  expect((await t.open()).rosterNumber).toBe(2);
  // There is nothing left to retry.
  await t.keys.retry();
  expect(t.replies).toHaveLength(1);
});

test('if the disk refuses several states, the newest is applied once the disk is writable', async () => {
  await using t = await setup();
  await rename(t.data.root, `${t.data.root}.away`);
  const signed = (number: number) => signRoster(t.root.privateKey, { ...t.roster, number });
  const rosters = [await signed(2), await signed(3)];
  const state = { type: 'segment_state' as const, wraps: [], wanting: [] };
  await Promise.all(rosters.map((roster) => t.keys.apply({ ...state, roster }, () => undefined)));
  await rename(`${t.data.root}.away`, t.data.root);
  await t.keys.retry();
  expect(t.keys.rosterNumber).toBe(3);
});

test('a roster that the root did not sign changes nothing and gets no reply', async () => {
  await using t = await setup();
  const wraps = [{ generation: 1, wrapped: await t.wrapForMe() }];
  await t.apply({ wraps }, await generateSigningKeyPair());
  expect(t.replies).toEqual([]);
  expect([t.keys.rosterNumber, t.keys.privateKey(1)]).toEqual([0, undefined]);
});

test('a roster that is already here is not verified again, but any other is', async () => {
  await using t = await setup();
  const verify = vi.spyOn(crypto.subtle, 'verify');
  await t.apply();
  expect(verify).toHaveBeenCalledTimes(1);
  await t.apply();
  await t.apply();
  expect(verify).toHaveBeenCalledTimes(1);
  expect(t.replies).toHaveLength(3);
  await t.apply({}, t.signing);
  await t.apply({}, t.root, { number: 3 });
  expect(verify).toHaveBeenCalledTimes(3);
  expect([t.replies.length, t.keys.rosterNumber]).toEqual([4, 3]);
  verify.mockRestore();
});

test('a roster with a lower number is refused, even by the next process', async () => {
  await using t = await setup();
  await t.apply({}, t.root, { number: 5 });
  await t.apply({}, t.root, { number: 4 });
  expect(t.replies).toHaveLength(1);
  const stored = JSON.parse(await readFile(t.data.roster, 'utf8')) as { payload: string };
  expect(JSON.parse(stored.payload)).toMatchObject({ number: 5 });
  const later = await t.open();
  expect(later.rosterNumber).toBe(5);
});

test.each(['', '{', 'null', '{"payload":1,"signature":""}'])(
  'a damaged roster (%s) is not taken for none: an older one would be believed',
  async (text) => {
    await using t = await setup();
    await t.apply({}, t.root, { number: 5 });
    await writeFile(t.data.roster, text);
    await expect(t.open()).rejects.toMatchObject({
      message: `${t.data.roster} is damaged.`,
      fix: expect.stringContaining('even an old one'),
    });
  },
);

test('a peer in the roster gets the key, bound to that peer', async () => {
  await using t = await setup();
  const wraps = [{ generation: 1, wrapped: await t.wrapForMe() }];
  await t.apply({ wraps, wanting: [{ agentId: peerId, generation: 1 }] });
  const sent = t.replies.find((reply) => reply.type === 'wrapped_key');
  expect(sent).toMatchObject({ agentId: peerId, generation: 1 });
  const opened = await unwrapSegmentKey({
    recipientPrivateKey: t.peer.privateKey,
    wrapped: sent?.type === 'wrapped_key' ? sent.wrapped : '',
    binding: t.binding(peerId),
  });
  expect(opened).toEqual(t.segment.privateKey);
});

test.each([0, 1])(
  'a peer whose key can’t be sealed to (%i) keeps no other from its key, and no next one from being made',
  async (first) => {
    await using t = await setup();
    const wraps = [{ generation: 1, wrapped: await t.wrapForMe() }];
    // A point of low order (RFC 7748 section 6.1): what is agreed with it is no secret.
    const lowOrder = {
      publicKey: Uint8Array.of(first, ...new Uint8Array(31)),
      privateKey: new Uint8Array(32),
    };
    const hostile = { ...(await t.member(6, lowOrder)) };
    const state = {
      wraps,
      makeGeneration: 2,
      wanting: [6, peerId].map((id) => ({ agentId: id, generation: 1 })),
    };
    await t.apply(state, t.root, { agents: [...t.roster.agents, hostile] });
    expect(t.replies.map(({ type }) => type)).toEqual(['segment_ready', 'wrapped_key', 'segment_key_made']);
    expect(t.replies).toContainEqual(expect.objectContaining({ type: 'wrapped_key', agentId: peerId }));
  },
);

test('an agent that is not in the roster gets nothing, even if the server asks for it', async () => {
  await using t = await setup();
  const wraps = [{ generation: 1, wrapped: await t.wrapForMe() }];
  await t.apply({ wraps, wanting: [{ agentId: 99, generation: 1 }] });
  expect(t.replies.map(({ type }) => type)).toEqual(['segment_ready']);
});

test('the key is wrapped for the recovery key that the roster names, and for no other', async () => {
  await using t = await setup();
  const recovery = await generateEncryptionKeyPair();
  const wraps = [{ generation: 1, wrapped: await t.wrapForMe() }];
  await t.apply({ wraps, wantedForRecovery: [1] });
  expect(t.replies.map(({ type }) => type)).toEqual(['segment_ready']);
  const named = { number: 3, recoveryKey: encodeBase64(recovery.publicKey) };
  await t.apply({ wantedForRecovery: [1, 2] }, t.root, named);
  const sent = t.replies.flatMap((reply) => (reply.type === 'recovery_wrapped' ? [reply] : []));
  expect(sent).toMatchObject([{ generation: 1 }]);
  const opened = await unwrapSegmentKey({
    recipientPrivateKey: recovery.privateKey,
    wrapped: sent[0]?.wrapped ?? '',
    binding: { ...t.binding(0), recipient: 'recovery' },
  });
  expect(opened).toEqual(t.segment.privateKey);
});

test('a wrap of a key that the roster does not name is refused', async () => {
  await using t = await setup();
  const other = await generateSegmentKey();
  const wrapped = await wrapSegmentKey({
    segmentPrivateKey: other.privateKey,
    recipientPublicKey: t.mine.publicKey,
    binding: { ...t.binding(agentId), segmentPublicKey: other.publicKey },
  });
  await t.apply({ wraps: [{ generation: 1, wrapped }] });
  expect(t.replies).toEqual([{ type: 'segment_ready', rosterNumber: 2, generations: [] }]);
  expect(t.keys.privateKey(1)).toBeUndefined();
});

test('a key made at enrollment is used once the roster names it, and dropped when it names another', async () => {
  await using t = await setup();
  const own = await firstSegmentKey(t.data);
  const named = await t.open();
  const replies: AgentMessage[] = [];
  const segmentKeys = [{ generation: 1, publicKey: encodeBase64(own.publicKey) }];
  const signed = await signRoster(t.root.privateKey, { ...t.roster, segmentKeys });
  await named.apply({ type: 'segment_state', roster: signed, wraps: [], wanting: [] }, (reply) =>
    replies.push(reply),
  );
  expect(replies).toEqual([{ type: 'segment_ready', rosterNumber: 2, generations: [1] }]);
  const next = await signRoster(t.root.privateKey, { ...t.roster, number: 3 });
  await named.apply({ type: 'segment_state', roster: next, wraps: [], wanting: [] }, (reply) =>
    replies.push(reply),
  );
  expect(replies.at(-1)).toMatchObject({ generations: [] });
  expect(await readKey(join(t.data.segmentKeys, '1.key'))).toBeUndefined();
});

test('a new generation is made, stored and offered with a signature, and is used once the roster names it', async () => {
  await using t = await setup();
  await t.apply({ makeGeneration: 2 });
  const made = t.replies.find((reply) => reply.type === 'segment_key_made');
  if (made?.type !== 'segment_key_made') throw new Error('no generation was offered');
  const segmentPublicKey = Buffer.from(made.segmentPublicKey, 'base64');
  const { wrapped } = made;
  const statement = segmentKeyStatement({
    installationId,
    segmentId,
    agentId,
    generation: 2,
    segmentPublicKey,
    wrapped,
  });
  expect(await verifyBase64(t.signing.publicKey, statement, made.signature)).toBe(true);
  expect(t.keys.generations).toEqual([]);
  const again = async () => {
    t.replies.splice(0);
    await t.apply({ makeGeneration: 2 });
    return t.replies.find((reply) => reply.type === 'segment_key_made');
  };
  expect(await again()).toMatchObject({ segmentPublicKey: made.segmentPublicKey });
  const segmentKeys = [...t.roster.segmentKeys, { generation: 2, publicKey: made.segmentPublicKey }];
  await t.apply({}, t.root, { number: 3, segmentKeys, currentGeneration: 2 });
  expect(t.replies.at(-1)).toMatchObject({ type: 'segment_ready', rosterNumber: 3, generations: [2] });
  expect((await t.open()).generations).toEqual([2]);
});

test('a generation that another agent made first replaces one’s own', async () => {
  await using t = await setup();
  await t.apply({ makeGeneration: 2 });
  const other = await generateSegmentKey();
  const segmentKeys = [...t.roster.segmentKeys, { generation: 2, publicKey: encodeBase64(other.publicKey) }];
  await t.apply({}, t.root, { number: 3, segmentKeys, currentGeneration: 2 });
  expect(t.keys.generations).toEqual([]);
  expect(await readKey(join(t.data.segmentKeys, '2.key'))).toBeUndefined();
});

test('only the next generation is made, whatever the server wants', async () => {
  await using t = await setup();
  await t.apply({ makeGeneration: 3 });
  expect(t.replies.map(({ type }) => type)).toEqual(['segment_ready']);
  expect(await readKey(join(t.data.segmentKeys, '3.key'))).toBeUndefined();
});

/** Generation 2 was made here and is named. Returns what its roster has in addition to the first one. */
async function setupSecond() {
  const t = await setup();
  const first = { generation: 1, wrapped: await t.wrapForMe() };
  await t.apply({ wraps: [first], makeGeneration: 2 });
  const made = t.replies.find((reply) => reply.type === 'segment_key_made');
  if (made === undefined) throw new Error('nothing was made');
  const { segmentPublicKey: publicKey, wrapped } = made;
  const named = {
    segmentKeys: [...t.roster.segmentKeys, { generation: 2, publicKey }],
    currentGeneration: 2,
  };
  await t.apply({}, t.root, { number: 3, ...named });
  expect(t.keys.generations).toEqual([1, 2]);
  t.replies.length = 0;
  return { ...t, named, publicKey, wrap: { generation: 2, wrapped }, second: t.keys.privateKey(2) };
}

test('a generation that a restored database has forgotten is replaced by a new key, not offered again', async () => {
  await using t = await setupSecond();
  await t.apply({ makeGeneration: 2 }, t.root, { number: 9_000 });
  expect(t.replies).toMatchObject([
    { type: 'segment_ready', rosterNumber: 9_000, generations: [1] },
    { type: 'segment_key_made', generation: 2 },
  ]);
  expect(t.replies[1]).not.toMatchObject({ segmentPublicKey: t.publicKey });
});

test.each([
  ['a wrap of it', { isWrapped: true, isMadeAnew: false }],
  ['no wrap of it', { isWrapped: false, isMadeAnew: false }],
  ['another made meanwhile', { isWrapped: false, isMadeAnew: true }],
])('a lost generation that a roster names again can be used at once, with %s', async (_, given) => {
  await using t = await setupSecond();
  await t.apply(given.isMadeAnew ? { makeGeneration: 2 } : {}, t.root, { number: 9_000 });
  expect([t.keys.newest()?.generation, t.keys.privateKey(2)]).toEqual([1, undefined]);
  t.replies.length = 0;
  await t.apply(given.isWrapped ? { wraps: [t.wrap] } : {}, t.root, { number: 9_001, ...t.named });
  expect(t.replies).toMatchObject([{ type: 'segment_ready', rosterNumber: 9_001, generations: [1, 2] }]);
  expect(t.keys.newest()).toMatchObject({ generation: 2 });
  for (const keys of [t.keys, await t.open()]) expect(keys.privateKey(2)).toEqual(t.second);
  const { mode } = await stat(join(t.data.segmentKeys, '2.key'));
  expect(mode & 0o777).toBe(0o600);
});

test('if a roster names another key for a generation, the old key is kept for a roster that names it again', async () => {
  await using t = await setupSecond();
  const publicKey = encodeBase64((await generateSegmentKey()).publicKey);
  const segmentKeys = [...t.roster.segmentKeys, { generation: 2, publicKey }];
  await t.apply({}, t.root, { number: 9_000, segmentKeys, currentGeneration: 2 });
  expect(t.keys.generations).toEqual([1]);
  await t.apply({}, t.root, { number: 9_001, ...t.named });
  expect(t.keys.privateKey(2)).toEqual(t.second);
});

test('a key is not dropped if the roster that no longer names it can not be stored', async () => {
  await using t = await setupSecond();
  const away = `${t.data.roster}.away`;
  await rename(t.data.roster, away);
  await mkdir(t.data.roster);
  await t.apply({}, t.root, { number: 9_000 });
  expect([t.replies, t.keys.generations]).toEqual([[], [1, 2]]);
  await rmdir(t.data.roster);
  await rename(away, t.data.roster);
  expect((await t.open()).privateKey(2)).toEqual(t.second);
  await t.keys.retry();
  expect(t.keys.generations).toEqual([1]);
});

test('a lost key whose file is gone is kept anyway, and holds up no roster', async () => {
  await using t = await setupSecond();
  await rm(join(t.data.segmentKeys, '2.key'));
  await t.apply({}, t.root, { number: 9_000 });
  expect(t.replies).toMatchObject([{ type: 'segment_ready', rosterNumber: 9_000, generations: [1] }]);
  await t.apply({}, t.root, { number: 9_001, ...t.named });
  expect(t.keys.privateKey(2)).toEqual(t.second);
});

test('a lost key whose file can not be removed at first is not offered again', async () => {
  await using t = await setupSecond();
  const path = join(t.data.segmentKeys, '2.key');
  await rename(path, `${path}.away`);
  // A folder can't be removed the way a file is.
  await mkdir(path);
  await t.apply({ makeGeneration: 2 }, t.root, { number: 9_000 });
  expect(t.replies).toEqual([]);
  await rmdir(path);
  await rename(`${path}.away`, path);
  await t.keys.retry();
  const [, made] = t.replies;
  expect(made).toMatchObject({ type: 'segment_key_made', generation: 2 });
  expect(made).not.toMatchObject({ segmentPublicKey: t.publicKey });
});

test('if a process ends right after storing a roster, the next one drops the lost keys', async () => {
  await using t = await setupSecond();
  const roster = await signRoster(t.root.privateKey, { ...t.roster, number: 9_000 });
  const folder = await Promise.all(
    (await readdir(t.data.segmentKeys)).map(async (name) => {
      const path = join(t.data.segmentKeys, name);
      return { path, content: await readFile(path) };
    }),
  );
  await t.apply({}, t.root, { number: 9_000 });
  // The state before the keys were looked at.
  for (const { path, content } of folder) await writeFile(path, content, { mode: 0o600 });
  const later = await t.open();
  expect(later.generations).toEqual([1]);
  const replies: AgentMessage[] = [];
  const state = { type: 'segment_state' as const, roster, wraps: [], wanting: [], makeGeneration: 2 };
  await later.apply(state, (message) => replies.push(message));
  const made = replies.find((reply) => reply.type === 'segment_key_made');
  expect(made).toMatchObject({ generation: 2 });
  expect(made).not.toMatchObject({ segmentPublicKey: t.publicKey });
});
