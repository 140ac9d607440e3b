import { createCipheriv, createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import ssh2, { type ClientChannel } from 'ssh2';
import { expect, onTestFinished, test } from 'vitest';
import { relayTo } from '../../testing/relay.ts';
import type { ReachJumpHost } from '../connect.ts';
import type { SshConnection } from '../connection.ts';
import { setupSshd, sshTest } from '../sshd-setup.ts';
import { takeOverGcm } from './gcm-packets.ts';

const gcm = ['aes128-gcm@openssh.com', 'aes256-gcm@openssh.com'];
// Of all sizes: each write becomes a packet of its own, and the larger ones become several. Altogether 4.5 MB, so that
// keys are exchanged several times.
const sent = Array.from({ length: 150 }, (_, n) => randomBytes(1 + ((n * 7919) % 60_000)));
const wanted = createHash('sha256').update(Buffer.concat(sent)).digest('hex');

/** Returns the SHA-256 of what has arrived. */
async function send(connection: SshConnection): Promise<string | undefined> {
  const channel = await connection.exec('sha256sum');
  await writeAll(channel);
  let text = '';
  for await (const piece of channel) text += piece;
  return text.split(' ')[0];
}

/** Returns the SHA-256 of what comes back. */
async function sendAndReceive(connection: SshConnection): Promise<string> {
  const channel = await connection.exec('cat');
  const hash = createHash('sha256');
  channel.on('data', (bytes: Buffer) => hash.update(bytes));
  await writeAll(channel);
  await once(channel, 'close');
  return hash.digest('hex');
}

async function writeAll(channel: ClientChannel): Promise<void> {
  for (const piece of sent) if (!channel.write(piece)) await once(channel, 'drain');
  channel.end();
}

for (const cipher of [...gcm, 'aes256-ctr']) {
  sshTest(
    `data sent with ${cipher} arrives unchanged, across key exchanges, on several connections at once`,
    async () => {
      const t = await setupSshd({ config: [`Ciphers ${cipher}`, 'RekeyLimit 1M'] });
      const connections = await Promise.all([t.connect(), t.connect()]);
      expect(await Promise.all(connections.map(send))).toEqual([wanted, wanted]);
    },
  );

  sshTest(
    `data received with ${cipher} arrives unchanged, across key exchanges, on several connections at once`,
    async () => {
      const t = await setupSshd({ config: [`Ciphers ${cipher}`, 'RekeyLimit 1M'] });
      const connections = await Promise.all([t.connect(), t.connect()]);
      expect(await Promise.all(connections.map(sendAndReceive))).toEqual([wanted, wanted]);
    },
  );
}

sshTest('data sent through a jump host is encrypted by both connections, and arrives unchanged', async () => {
  const t = await setupSshd({ config: ['RekeyLimit 1M'] });
  const jump = {
    target: { ...t.target, name: 'bastion' },
    credential: t.credential,
    checkAddresses: () => {},
  };
  const connections = await Promise.all([t.connect({}, { jumps: [jump] }), t.connect()]);
  expect(await Promise.all(connections.map(send))).toEqual([wanted, wanted]);
  expect(await Promise.all(connections.map(sendAndReceive))).toEqual([wanted, wanted]);
});

sshTest('what came through a jump host is given back once it was decrypted again', async () => {
  const t = await setupSshd({ config: [`Ciphers ${gcm[0]}`] });
  let stream: ClientChannel | undefined;
  const reachJumpHost: ReachJumpHost = async (_jump, to) => {
    stream = await (await t.connect()).forward(to);
    return stream;
  };
  const jump = {
    target: { ...t.target, name: 'bastion' },
    credential: t.credential,
    checkAddresses: () => {},
  };
  const connection = await t.connect({ reachJumpHost }, { jumps: [jump] });
  let given = 0;
  stream?.on('data', (bytes: Buffer) => {
    if (bytes.length === 0) given += 1;
  });
  const channel = await connection.exec('head -c 3000000 /dev/zero');
  let received = 0;
  channel.on('data', (bytes: Buffer) => {
    received += bytes.length;
  });
  await once(channel, 'close');
  expect(received).toBe(3_000_000);
  // How many depends on how the jump host cuts what it passes on: kept are pieces that end within a packet.
  expect(given).toBeGreaterThan(0);
});

/** Relays to a port, and inverts one bit of what comes back, so many bytes after `arm()` was called. */
async function flippingRelay(port: number): Promise<{ port: number; arm(afterBytes: number): void }> {
  let left = Number.POSITIVE_INFINITY;
  const relayPort = await relayTo(port, (bytes, client) => {
    if (left < bytes.length) bytes[left] = (bytes[left] ?? 0) ^ 1;
    left -= bytes.length;
    client.write(bytes);
  });
  return {
    port: relayPort,
    arm: (afterBytes) => {
      left = afterBytes;
    },
  };
}

// Which part of a packet is hit differs: its length, its data, its tag.
for (const afterBytes of [1_000_000, 1_010_000, 1_020_003]) {
  sshTest(
    `one bit that differs ${afterBytes} bytes into the output ends the connection, and nothing wrong is passed on`,
    async () => {
      const t = await setupSshd({ config: [`Ciphers ${gcm[0]}`] });
      const relay = await flippingRelay(t.sshd.port);
      const connection = await t.connect({}, { port: relay.port });
      const channel = await connection.exec('head -c 20000000 /dev/zero');
      relay.arm(afterBytes);
      let [received, wrong] = [0, 0];
      channel.on('data', (bytes: Buffer) => {
        received += bytes.length;
        wrong += bytes.filter((byte) => byte !== 0).length;
      });
      await connection.closed;
      expect(wrong).toBe(0);
      expect(received).toBeGreaterThan(0);
      expect(received).toBeLessThan(20_000_000);
    },
  );
}

/** A receiving end as ssh2 has it, with this in place of its own decryption. */
function receiver() {
  class Decipher {
    inSeqno = 7;
    _decipherSSLName = 'aes-128-gcm';
    _decipherKey = randomBytes(16);
    _decipherIV = randomBytes(12);
    _len = 0;
    _lenBytes = 0;
    _pktLen = 0;
    _packet = null;
    payloads: Buffer[] = [];
    _onPayload(payload: Buffer): number | false | undefined {
      this.payloads.push(Buffer.from(payload));
      return undefined;
    }
    decrypt(_data: Buffer, _at: number, _end: number): number | undefined {
      return undefined;
    }
  }
  const decipher = new Decipher();
  takeOverGcm({ _protocol: { _decipher: decipher } } as never);
  const iv = Buffer.from(decipher._decipherIV);
  const seal = (plain: Buffer, claimedBytes = plain.length) => {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(claimedBytes);
    const cipher = createCipheriv('aes-128-gcm', decipher._decipherKey, iv).setAAD(length);
    const sealed = Buffer.concat([length, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
    iv.writeBigUInt64BE((iv.readBigUInt64BE(4) + 1n) & 0xffff_ffff_ffff_ffffn, 4);
    return sealed;
  };
  return { decipher, seal };
}

function padded(payload: Buffer): Buffer {
  const paddingBytes = 16 - ((1 + payload.length) % 16) + (16 - ((1 + payload.length) % 16) < 4 ? 16 : 0);
  return Buffer.concat([Buffer.of(paddingBytes), payload, randomBytes(paddingBytes)]);
}

test('packets are received however they are cut', () => {
  const payloads = [1, 12, 300, 9_000, 32_777, 5].map((bytes) => randomBytes(bytes));
  for (const cut of [1, 2, 3, 7, 16, 1_000, 32_768, 1_000_000]) {
    const { decipher, seal } = receiver();
    const stream = Buffer.concat(payloads.map((payload) => seal(padded(payload))));
    for (let at = 0; at < stream.length; at += cut)
      expect(decipher.decrypt(stream, at, Math.min(at + cut, stream.length))).toBeUndefined();
    expect(decipher.payloads).toEqual(payloads);
    expect(decipher.inSeqno).toBe(7 + payloads.length);
  }
});

test('what follows a packet that changes the keys is left to the next cipher', () => {
  const { decipher, seal } = receiver();
  const first = seal(padded(Buffer.from('new keys')));
  const stream = Buffer.concat([first, randomBytes(100)]);
  decipher._onPayload = () => false;
  expect(decipher.decrypt(stream, 0, stream.length)).toBe(first.length);
});

test.each([
  ['longer than any packet may be', (seal: Sealer) => seal(Buffer.alloc(16), 34_992), 'Bad packet length'],
  [
    'of a length that is no multiple of the block',
    (seal: Sealer) => seal(Buffer.alloc(24)),
    'Bad packet length',
  ],
  ['shorter than a block', (seal: Sealer) => seal(Buffer.alloc(0)), 'Bad packet length'],
  ['with more padding than it has bytes', (seal: Sealer) => seal(Buffer.alloc(16, 16)), 'Bad padding length'],
  ['with too little padding', (seal: Sealer) => seal(Buffer.alloc(16, 3)), 'Bad padding length'],
  [
    'out of order',
    (seal: Sealer) => [seal(Buffer.alloc(16, 4)), seal(Buffer.alloc(16, 4))][1],
    'authenticate',
  ],
])('a packet %s is refused', (_what, sealed, message) => {
  const { decipher, seal } = receiver();
  const bytes = sealed(seal) as Buffer;
  expect(() => decipher.decrypt(bytes, 0, bytes.length)).toThrow(message);
  expect(decipher.payloads).toEqual([]);
});

type Sealer = ReturnType<typeof receiver>['seal'];

for (const cipher of gcm) {
  sshTest(`two packets for ${cipher} are made in the same memory, each with its own padding`, async () => {
    const t = await setupSshd({ config: [`Ciphers ${cipher}`] });
    const client = new ssh2.Client();
    onTestFinished(() => void client.destroy());
    const { host, port, user: username, privateKey } = t.sshd;
    client.connect({ host, port, username, privateKey });
    await once(client, 'ready');
    takeOverGcm(client);
    const { _protocol } = client as unknown as {
      _protocol: { _cipher: { allocPacket(bytes: number): Buffer } };
    };
    const [first, second, large] = [100, 100, 200_000].map((bytes) => {
      const made = _protocol._cipher.allocPacket(bytes);
      return { made, padding: made.subarray(5 + bytes).toString('hex') };
    });
    expect(second?.made.buffer).toBe(first?.made.buffer);
    expect(large?.made.buffer).not.toBe(first?.made.buffer);
    for (const { made } of [first, second, large].filter((one) => one !== undefined)) {
      expect(made.readUInt32BE(0)).toBe(made.length - 4);
      expect((made.length - 4) % 16).toBe(0);
    }
    expect(first?.padding).toHaveLength(2 * (first?.made[4] ?? 0));
    expect(first?.padding).not.toBe(second?.padding);
  });
}
