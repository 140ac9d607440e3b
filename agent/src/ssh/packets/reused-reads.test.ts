import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import type { AddressInfo, Socket } from 'node:net';
import type { Readable } from 'node:stream';
import ssh2, { type ServerChannel } from 'ssh2';
import { expect, onTestFinished, test } from 'vitest';
import { relayTo } from '../../testing/relay.ts';
import { ed25519KeyPair } from '../../testing/ssh-keys.ts';
import { connectSsh } from '../connect.ts';
import { setupSshd, sshTest } from '../sshd-setup.ts';

/** What a command prints; `arrived` resolves once it is so many bytes, and rejects if it ends before. */
function gathered(output: Readable, bytes: number): { received: Buffer[]; arrived: Promise<void> } {
  const received: Buffer[] = [];
  const arrived = new Promise<void>((resolve, reject) => {
    output.on('data', (piece: Buffer) => {
      received.push(Buffer.from(piece));
      if (Buffer.concat(received).length >= bytes) resolve();
    });
    output.on('close', () => reject(new Error('The connection was cut')));
  });
  return { received, arrived };
}

/** Relays one connection to a port. From `hold()` to `passOn()`, the last 5 bytes of what comes back are held back. */
async function holdingRelay(port: number) {
  let client: Socket | undefined;
  let held: Buffer | undefined;
  let onHeld = () => {};
  let atLeast = 0;
  const relayPort = await relayTo(port, (bytes, near) => {
    client = near;
    if (held === undefined) return void near.write(bytes);
    const all = Buffer.concat([held, bytes]);
    held = all;
    if (all.length < atLeast) return;
    held = all.subarray(-5);
    near.write(all.subarray(0, -5));
    onHeld();
  });
  return {
    port: relayPort,
    /** Passes nothing on before so many bytes have come. */
    hold: (bytes = 0) =>
      new Promise<void>((resolve) => {
        atLeast = bytes;
        held = Buffer.alloc(0);
        onHeld = resolve;
      }),
    passOn: () => {
      if (held !== undefined) client?.write(held);
      held = undefined;
    },
  };
}

for (const cipher of ['aes128-gcm@openssh.com', 'chacha20-poly1305@openssh.com', 'aes256-ctr']) {
  for (const through of ['the network', 'a jump host']) {
    sshTest(`a packet for ${cipher} that comes through ${through} in two parts is whole`, async () => {
      const t = await setupSshd({ config: [`Ciphers ${cipher}`] });
      const bastion = await setupSshd({ config: ['Ciphers aes128-gcm@openssh.com'] });
      const jump = {
        target: { ...bastion.target, name: 'bastion' },
        credential: bastion.credential,
        checkAddresses: () => {},
      };
      const relay = await holdingRelay(t.sshd.port);
      const jumps = through === 'a jump host' ? [jump] : undefined;
      const connection = await t.connect({}, { port: relay.port, ...(jumps === undefined ? {} : { jumps }) });
      const cut = await connection.exec('cat');
      const other = await (await t.connect()).exec('cat');
      // One packet, also for the jump host.
      const sent = randomBytes(12_000);
      const { received, arrived } = gathered(cut, sent.length);

      const held = relay.hold();
      cut.write(sent);
      await held;
      other.write(randomBytes(100_000));
      await once(other, 'data');
      relay.passOn();
      await arrived;
      expect(Buffer.concat(received).equals(sent)).toBe(true);
    });
  }
}

interface Lists {
  kex: { array: string[] };
  serverHostKey: { array: string[] };
  sc: { mac: { array: string[] }; compress: { array: string[] } };
}

/** Has a server's side of a connection offer one cipher when it exchanges keys again. */
function offerOnly(connection: ssh2.Connection, cipher: string): void {
  const { KexInit } = createRequire(import.meta.url)('ssh2/lib/protocol/kex.js');
  const { _protocol: protocol } = connection as unknown as { _protocol: { _offer: { lists: Lists } } };
  const { kex, serverHostKey, sc } = protocol._offer.lists;
  const way = { cipher: [cipher], mac: sc.mac.array, compress: sc.compress.array, lang: [] };
  protocol._offer = new KexInit({ kex: kex.array, serverHostKey: serverHostKey.array, cs: way, sc: way });
}

test('a packet that comes in two parts is whole after a server has exchanged keys for ChaCha20', async () => {
  const hostKey = ed25519KeyPair();
  const channels: [ServerChannel, ssh2.Connection][] = [];
  const server = new ssh2.Server({ hostKeys: [hostKey.private] }, (client) => {
    onTestFinished(() => void client.end());
    client.on('error', () => {});
    client.on('authentication', (context) => context.accept());
    client.on('session', (accept) => {
      accept().on('exec', (acceptExec) => channels.push([acceptExec(), client]));
    });
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  onTestFinished(() => void server.close());
  const { port } = server.address() as AddressInfo;
  const relay = await holdingRelay(port);
  const connect = (to: number) =>
    connectSsh(
      { id: 1, name: 'web-1', host: '127.0.0.1', port: to, hostKeys: [hostKey.public.trim()] },
      { kind: 'ssh_password', id: '1', version: 1, user: 'ops', password: 'x' },
      { checkAddresses: () => {} },
    );
  const [cut, other] = [await connect(relay.port), await connect(port)];
  onTestFinished(() => void [cut, other].map((connection) => connection.close()));
  expect(cut.cipher).toMatch(/gcm/);
  const [output, others] = [await cut.exec('cat'), await other.exec('cat')];
  const [[near, client], [far]] = channels as [(typeof channels)[0], (typeof channels)[0]];

  offerOnly(client, 'chacha20-poly1305@openssh.com');
  await new Promise<void>((done) => client.rekey(() => done()));

  const sent = randomBytes(12_000);
  const { received, arrived } = gathered(output, sent.length);
  // The packet is read up to the middle of its MAC, which ssh2 writes by itself: length, padded payload, MAC.
  const held = relay.hold(4 + 12_016 + 16);
  near.write(sent);
  await held;
  far.write(randomBytes(100_000));
  await once(others, 'data');
  relay.passOn();
  await arrived;
  expect(Buffer.concat(received).equals(sent)).toBe(true);
});
