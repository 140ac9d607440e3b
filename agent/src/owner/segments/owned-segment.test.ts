// An owner's segment with a server that may show other things than were signed.
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import {
  encodeBase64,
  fingerprint,
  generateEncryptionKeyPair,
  generateSigningKeyPair,
  openCredential,
  type SealedCredential,
} from '@opsconductor/protocol/sealing';
import { expect, test } from 'vitest';
import { KnownRoots } from '../../start-run/known-roots.ts';
import { type SealRequest, storeSealed } from '../credentials/seal-credential.ts';
import { initSegment, keepSeen, readOwned, signNextRoster } from './owned-segment.ts';
import { installationId, member, segmentId, setup } from './owned-segment-setup.ts';

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
