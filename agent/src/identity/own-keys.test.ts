// Replacing an agent's keys is interrupted between any two writes: the next process connects with whichever key the
// server has.
import { copyFile, link, readdir, rm, utimes } from 'node:fs/promises';
import {
  encodeBase64,
  encryptionPublicKeyOf,
  equalBytes,
  generateEncryptionKeyPair,
  generateSigningKeyPair,
  keyChangeStatement,
  signingPublicKeyOf,
  verifyBase64,
} from '@opsconductor/protocol/sealing';
import { pino } from 'pino';
import { expect, onTestFinished, test } from 'vitest';
import { temporaryDirectory } from '../testing/enrolled-directory.ts';
import { dataDirectory, prepareDataDirectory, removeUnfinishedFiles } from './data-directory.ts';
import { readIdentity, saveIdentity, saveKey } from './identity.ts';
import { makeNextKeys, readNextKeys } from './next-keys.ts';
import { OwnKeys } from './own-keys.ts';

const ids = { installationId: 'installation-1', segmentId: 3, agentId: 7 };

async function setup() {
  const { path, remove } = await temporaryDirectory();
  onTestFinished(remove);
  const data = dataDirectory(path);
  await prepareDataDirectory(data);
  const old = { signing: await generateSigningKeyPair(), encryption: await generateEncryptionKeyPair() };
  await saveKey(data.signingKey, old.signing.privateKey);
  await saveKey(data.encryptionKey, old.encryption.privateKey);
  await saveIdentity(data, {
    ...{ server: 'http://server', agentName: 'a', segmentName: 'dmz', enrolledAt: 'then', ...ids },
    serverKey: encodeBase64(old.signing.publicKey),
    segmentRoot: encodeBase64(old.signing.publicKey),
  });
  await makeNextKeys(data);
  const next = await readNextKeys(data);
  if (next === undefined) throw new Error('none were made');
  const open = async () => {
    const identity = await readIdentity(data);
    return { identity, keys: await OwnKeys.open({ data, identity, log: pino({ level: 'silent' }) }) };
  };
  return { data, old, next, open };
}

/** What is on disk after each of the writes that replace the previous keys. */
const writes = ['nothing', 'the signing key', 'the encryption key', 'all'] as const;

async function interruptedAfter(written: (typeof writes)[number]) {
  const t = await setup();
  const count = writes.indexOf(written);
  if (count > 0) await saveKey(t.data.signingKey, t.next.signingPrivateKey);
  if (count > 1) await saveKey(t.data.encryptionKey, t.next.encryptionPrivateKey);
  if (count > 2) await rm(t.data.nextKeys);
  return t;
}

test.each(writes)(
  'a process that ended after %s was written has keys that belong together',
  async (written) => {
    const t = await interruptedAfter(written);
    const expected =
      written === 'nothing'
        ? [t.old.signing.privateKey, t.old.encryption.privateKey]
        : [t.next.signingPrivateKey, t.next.encryptionPrivateKey];
    const { identity, keys } = await t.open();
    expect([identity.signingPrivateKey, identity.encryptionPrivateKey].map(encodeBase64)).toEqual(
      expected.map(encodeBase64),
    );
    expect(keys.signingPrivateKey).toEqual(identity.signingPrivateKey);
    expect((await readNextKeys(t.data)) === undefined).toBe(written !== 'nothing');
  },
);

test.each([
  ['had not heard of the new keys', 'old'],
  ['had accepted them, and its reply was lost', 'next'],
] as const)('the agent connects to a server that %s, with exactly one of the keys', async (_, has) => {
  const t = await setup();
  const taken = has === 'old' ? t.old.signing.privateKey : t.next.signingPrivateKey;
  const { identity, keys } = await t.open();
  const tried: string[] = [];
  while (!equalBytes(keys.signingPrivateKey, taken)) {
    tried.push(encodeBase64(keys.signingPrivateKey));
    if (tried.length > 2) throw new Error('it never tries the right one');
    keys.refused();
  }
  // Any server may welcome any key, so only the roster makes the agent give up its previous keys.
  expect(identity.signingPrivateKey).toEqual(t.old.signing.privateKey);
  expect(await readNextKeys(t.data)).toEqual(t.next);
  const signingKey = encodeBase64(await signingPublicKeyOf(taken));
  await keys.named({ agentId: 7, name: 'a', signingKey, encryptionKey: signingKey });
  expect(encodeBase64(identity.signingPrivateKey)).toBe(encodeBase64(taken));
  expect((await readNextKeys(t.data)) === undefined).toBe(has === 'next');
  const again = await t.open();
  expect(encodeBase64(again.keys.signingPrivateKey)).toBe(encodeBase64(taken));
});

test('the same new keys, signed by both, are offered once on each connection until a roster names them', async () => {
  const t = await setup();
  const { identity, keys } = await t.open();
  const offers: Parameters<Parameters<OwnKeys['offer']>[0]['send']>[0][] = [];
  const connect = () => ({ send: (offer: (typeof offers)[number]) => void offers.push(offer) });
  const wrapsFor = async (key: Uint8Array) => [{ generation: 1, wrapped: encodeBase64(key) }];
  const first = connect();
  await keys.offer(first, wrapsFor);
  await keys.offer(first, wrapsFor);
  await keys.offer(connect(), wrapsFor);
  expect(offers).toHaveLength(2);
  expect(offers[0]).toEqual(offers[1]);
  const [offer] = offers;
  if (offer === undefined) throw new Error('none was made');
  const signingKey = await signingPublicKeyOf(t.next.signingPrivateKey);
  const encryptionKey = await encryptionPublicKeyOf(t.next.encryptionPrivateKey);
  const oldSigningKey = t.old.signing.publicKey;
  const statement = keyChangeStatement({ ...ids, oldSigningKey, signingKey, encryptionKey });
  expect(await verifyBase64(oldSigningKey, statement, offer.signature)).toBe(true);
  expect(await verifyBase64(signingKey, statement, offer.ownSignature)).toBe(true);
  expect(offer.wraps).toEqual([{ generation: 1, wrapped: offer.encryptionKey }]);

  const member = { agentId: 7, name: 'a', encryptionKey: offer.encryptionKey };
  await keys.named({ ...member, signingKey: encodeBase64(oldSigningKey) });
  expect(identity.signingPrivateKey).toEqual(t.old.signing.privateKey);
  await keys.named({ ...member, signingKey: offer.signingKey });
  expect(encodeBase64(identity.encryptionPrivateKey)).toBe(encodeBase64(t.next.encryptionPrivateKey));
  const current = connect();
  await keys.offer(current, wrapsFor);
  expect(offers).toHaveLength(2);
  // Even on a connection on which other keys were offered and accepted before.
  for (const count of [3, 4]) {
    await keys.make();
    await keys.offer(current, wrapsFor);
    expect(offers).toHaveLength(count);
    await keys.named({ ...member, signingKey: offers.at(-1)?.signingKey ?? '' });
  }
});

test('the agent finds keys that a command makes while it runs', async () => {
  const t = await setup();
  const aside = `${t.data.nextKeys}.aside`;
  await copyFile(t.data.nextKeys, aside);
  await rm(t.data.nextKeys);
  const { keys } = await t.open();
  const offers: string[] = [];
  const connection = { send: ({ type }: { type: string }) => void offers.push(type) };
  await keys.offer(connection, async () => []);
  expect(offers).toEqual([]);
  await copyFile(aside, t.data.nextKeys);
  await keys.offer(connection, async () => []);
  expect(offers).toEqual(['new_keys']);
  expect(await makeNextKeys(t.data)).toBe(false);
});

test('if several processes make new keys at once one succeeds, and what is offered is what is on disk', async () => {
  const t = await setup();
  await rm(t.data.nextKeys);
  const { keys } = await t.open();
  const offers: { signingKey: string }[] = [];
  const connection = { send: (offer: { signingKey: string }) => void offers.push(offer) };
  const makeAndOffer = async () => {
    await keys.make();
    await keys.offer(connection, async () => []);
  };
  const made = await Promise.all([
    ...Array.from({ length: 4 }, () => makeNextKeys(t.data)),
    makeAndOffer(),
    makeAndOffer(),
  ]);
  expect(made.filter((isNew) => isNew === true).length).toBeLessThanOrEqual(1);
  const onDisk = await readNextKeys(t.data);
  if (onDisk === undefined) throw new Error('none were made');
  expect(offers).toMatchObject([
    { signingKey: encodeBase64(await signingPublicKeyOf(onDisk.signingPrivateKey)) },
  ]);
  expect((await readdir(t.data.root)).filter((name) => name.endsWith('.tmp'))).toEqual([]);
});

test('a copy of new keys that a killed process left is removed by a later start, and not while they may be in the making', async () => {
  const { data } = await setup();
  const left = `${data.nextKeys}.0123456789ab.tmp`;
  // Killed between giving them their name and taking away the first one.
  await link(data.nextKeys, left);
  await removeUnfinishedFiles(data);
  expect((await readdir(data.root)).filter((name) => name.startsWith('next.keys'))).toHaveLength(2);
  await utimes(left, new Date(0), new Date(0));
  await removeUnfinishedFiles(data);
  expect(await readdir(data.root)).not.toContain('next.keys.0123456789ab.tmp');
  expect(await readNextKeys(data)).toBeDefined();
});
