// The examples of MS-NLMP 4.2.4 and RFC 1320, and the usual RC4 vectors.
import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { WinrmError } from '../../winrm-error.ts';
import { ntlmv2Response, responseKey, sealingKey, signingKey } from './keys.ts';
import { md4 } from './md4.ts';
import { flags, pairIds, readChallenge, writePairs } from './messages.ts';
import { NtlmContext, readUser } from './ntlm-context.ts';
import { Rc4 } from './rc4.ts';
import { NtlmSealer } from './sealer.ts';

const hex = (text: string) => Buffer.from(text, 'hex');
const agreed = flags.keyExchange | flags.key128 | flags.key56;
const sessionKey = Buffer.alloc(16, 0x55);

test.each([
  ['', '31d6cfe0d16ae931b73c59d7e0c089c0'],
  ['abc', 'a448017aaf21d8525fc10ae87aa6729d'],
  ['message digest', 'd9130a8164549fe818874806e1c7014b'],
  ['1234567890'.repeat(8), 'e33b4ddc9c38f2199c3e7b164fcc0536'],
])('MD4 of %j is as in RFC 1320', (text, digest) => {
  expect(md4(Buffer.from(text)).toString('hex')).toBe(digest);
});

test('RC4 gives the known stream, at once and in parts', () => {
  expect(new Rc4(Buffer.from('Key')).apply(Buffer.from('Plaintext')).toString('hex')).toBe(
    'bbf316e8d940af0ad3',
  );
  const parted = new Rc4(Buffer.from('Wiki'));
  const parts = ['pe', 'd', 'ia'].map((text) => parted.apply(Buffer.from(text)));
  expect(Buffer.concat(parts).toString('hex')).toBe('1021bf0420');
});

test('keys and response of NTLMv2 are as in MS-NLMP 4.2.4', () => {
  const key = responseKey('User', 'Domain', 'Password');
  expect(key.toString('hex')).toBe('0c868a403bfd7a93a3001ef22ef02e3f');
  const { response, sessionBaseKey } = ntlmv2Response({
    key,
    serverChallenge: hex('0123456789abcdef'),
    clientChallenge: Buffer.alloc(8, 0xaa),
    timestamp: Buffer.alloc(8),
    pairs: writePairs([
      { id: 2, value: Buffer.from('Domain', 'utf16le') },
      { id: 1, value: Buffer.from('Server', 'utf16le') },
    ]),
  });
  expect(response.subarray(0, 16).toString('hex')).toBe('68cd0ab851e51c96aabc927bebef6a1c');
  expect(sessionBaseKey.toString('hex')).toBe('8de40ccadbc14a82f15cb0ad0de95ca3');
  expect(new Rc4(sessionBaseKey).apply(sessionKey).toString('hex')).toBe('c5dad2544fc9799094ce1ce90bc9d03e');
});

test('a sealed message is as in MS-NLMP 4.2.4.4', () => {
  expect(signingKey(sessionKey, 'client-to-server').toString('hex')).toBe('4788dc861b4782f35d43fd98fe1a2d39');
  expect(sealingKey(sessionKey, 'client-to-server', agreed).toString('hex')).toBe(
    '59f600973cc4960a25480a7c196e4c58',
  );
  const { signature, data } = new NtlmSealer(sessionKey, 'client-to-server', agreed).seal(
    Buffer.from('Plaintext', 'utf16le'),
  );
  expect(data.toString('hex')).toBe('54e50165bf1936dc996020c1811b0f06fb5f');
  expect(signature.toString('hex')).toBe('010000007fb38ec5c55d497600000000');
});

test('each side unseals what the other has sealed, in order; anything else is refused', () => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ maxLength: 300 }), { minLength: 1 }),
      fc.nat(),
      (messages, where) => {
        const one = new NtlmSealer(sessionKey, 'client-to-server', agreed);
        const other = new NtlmSealer(sessionKey, 'client-to-server', agreed);
        const sealed = messages.map((message) => one.seal(Buffer.from(message)));
        for (const [at, { signature, data }] of sealed.entries()) {
          expect(other.unseal(signature, data)).toEqual(Buffer.from(messages[at] ?? []));
        }
        const [first] = sealed;
        // The same message again: a replay.
        expect(
          other.unseal(first?.signature ?? Buffer.alloc(0), first?.data ?? Buffer.alloc(0)),
        ).toBeUndefined();
        const flipped = Buffer.concat([first?.signature ?? Buffer.alloc(0), first?.data ?? Buffer.alloc(0)]);
        const at = where % flipped.length;
        flipped[at] = (flipped[at] ?? 0) ^ 1;
        const fresh = new NtlmSealer(sessionKey, 'client-to-server', agreed);
        expect(fresh.unseal(flipped.subarray(0, 16), flipped.subarray(16))).toBeUndefined();
      },
    ),
    { numRuns: 50 },
  );
});

function challenge(more: number, pairs = writePairs([])): Buffer {
  const message = Buffer.alloc(56);
  message.write('NTLMSSP\0', 'latin1');
  message.writeUInt32LE(2, 8);
  message.writeUInt32LE(more >>> 0, 20);
  message.writeUInt16LE(pairs.length, 40);
  message.writeUInt32LE(56, 44);
  return Buffer.concat([message, pairs]);
}

const strong =
  flags.unicode | flags.sign | flags.seal | flags.extendedSessionSecurity | flags.key128 | flags.keyExchange;

test('the host’s own pairs are kept, and the target, the channel and the integrity code are added', async () => {
  const context = new NtlmContext({
    user: 'FIXTURE\\ann',
    password: 'secret',
    host: 'win-1',
    channelBinding: Buffer.from('channel'),
  });
  await context.step();
  const name = { id: 3, value: Buffer.from('win-1.example', 'utf16le') };
  const message = (await context.step(challenge(strong, writePairs([name])))) as Buffer;
  expect(context.complete).toBe(true);
  const start = message.readUInt32LE(24) + 16 + 28;
  const text = message.subarray(start).toString('hex');
  const head = Buffer.alloc(20);
  head.writeUInt32LE(7, 16);
  const bound = createHash('md5').update(head).update('channel').digest('hex');
  expect(text).toContain(name.value.toString('hex'));
  expect(text).toContain(Buffer.from('HTTP/win-1', 'utf16le').toString('hex'));
  expect(text).toContain(`0a001000${bound}`);
  expect(text).toContain(`0600040002000000`);
  expect(pairIds.flags).toBe(6);
});

// What a hostile host would relay to another one: that one reads the pairs from a fixed place (MS-NLMP 2.2.2.7).
test.each([0, 7, 9, 20, 44])(
  'a time of %i bytes is refused: pairs hidden in it would take the place of ours',
  async (length) => {
    const context = new NtlmContext({ user: 'ann', password: 'secret', host: 'win-1' });
    await context.step();
    const hidden = writePairs([{ id: pairIds.channelBindings, value: Buffer.alloc(16, 7) }]);
    const value = Buffer.concat([Buffer.alloc(20), hidden]).subarray(0, length);
    const made = context.step(challenge(strong, writePairs([{ id: pairIds.timestamp, value }])));
    await expect(made).rejects.toMatchObject({ kind: 'protocol' });
    expect(context.complete).toBe(false);
  },
);

test('the host’s own time is used, and whoever is sent the response reads our pairs in it', async () => {
  const context = new NtlmContext({ user: 'ann', password: 'secret', host: 'win-1' });
  await context.step();
  const time = { id: pairIds.timestamp, value: hex('0102030405060708') };
  const message = (await context.step(challenge(strong, writePairs([time])))) as Buffer;
  const blob = message.subarray(message.readUInt32LE(24) + 16);
  expect(blob.subarray(8, 16)).toEqual(time.value);
  const read = readChallenge(challenge(strong, blob.subarray(28))).targetInfo;
  expect(read.map(({ id }) => id)).toEqual([
    ...[pairIds.timestamp, pairIds.flags],
    ...[pairIds.channelBindings, pairIds.targetName],
  ]);
});

test.each([
  ['is none', Buffer.from('NTLMSSP\0')],
  ['is of another kind', challenge(strong).fill(1, 8, 12)],
  ['is cut short', challenge(strong).subarray(0, 58)],
  ['has pairs without an end', challenge(strong, Buffer.from([1, 0, 9, 0]))],
  ['agrees to no sealing', challenge(strong & ~flags.seal)],
  ['agrees to short keys only', challenge(strong & ~flags.key128)],
])('a challenge that %s is refused', async (_, message) => {
  const context = new NtlmContext({ user: 'ann', password: 'secret', host: 'win-1' });
  await context.step();
  await expect(context.step(message)).rejects.toBeInstanceOf(WinrmError);
  expect(context.complete).toBe(false);
});

test('no random challenge breaks the reader', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      const message = Buffer.concat([Buffer.from('NTLMSSP\0\x02\0\0\0', 'latin1'), Buffer.from(bytes)]);
      try {
        readChallenge(message);
      } catch (error) {
        expect((error as Error).name).toBe('NtlmMessageError');
      }
    }),
  );
});

test.each([
  ['ann', { user: 'ann', domain: '' }],
  ['.\\ann', { user: 'ann', domain: '' }],
  ['CORP\\ann', { user: 'ann', domain: 'CORP' }],
  ['ann@corp.example', { user: 'ann@corp.example', domain: '' }],
])('%s is split into user and domain', (name, read) => {
  expect(readUser(name)).toEqual(read);
});

test('letters that grow in upper case stay as they are, as on Windows', () => {
  expect(responseKey('straße', '', 'x')).toEqual(responseKey('STRAßE', '', 'x'));
});
