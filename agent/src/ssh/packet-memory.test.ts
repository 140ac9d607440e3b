import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import ssh2 from 'ssh2';
import { expect, onTestFinished } from 'vitest';
import type { SshConnection } from './connection.ts';
import { reusePacketMemory } from './packet-memory.ts';
import { setupSshd, sshTest } from './sshd-setup.ts';

const gcm = ['aes128-gcm@openssh.com', 'aes256-gcm@openssh.com'];
// Of all sizes: each write becomes a packet of its own, and the larger ones become several.
const sent = Array.from({ length: 400 }, (_, n) => randomBytes(1 + ((n * 7919) % 60_000)));
const wanted = createHash('sha256').update(Buffer.concat(sent)).digest('hex');

/** Returns the SHA-256 of what has arrived. */
async function send(connection: SshConnection): Promise<string | undefined> {
  const channel = await connection.exec('sha256sum');
  for (const piece of sent) if (!channel.write(piece)) await once(channel, 'drain');
  channel.end();
  let text = '';
  for await (const piece of channel) text += piece;
  return text.split(' ')[0];
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
});

for (const cipher of gcm) {
  sshTest(`two packets for ${cipher} are made in the same memory, each with its own padding`, async () => {
    const t = await setupSshd({ config: [`Ciphers ${cipher}`] });
    const client = new ssh2.Client();
    onTestFinished(() => void client.destroy());
    const { host, port, user: username, privateKey } = t.sshd;
    client.connect({ host, port, username, privateKey });
    await once(client, 'ready');
    reusePacketMemory(client);
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
