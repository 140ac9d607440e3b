import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { expect } from 'vitest';
import { relayTo } from '../../testing/relay.ts';
import { setupSshd, sshTest } from '../sshd-setup.ts';

/** Relays one connection to a port. From `hold()` to `passOn()`, the last 5 bytes of what comes back are held back. */
async function holdingRelay(port: number) {
  let client: Socket | undefined;
  let held: Buffer | undefined;
  let onHeld = () => {};
  const relayPort = await relayTo(port, (bytes, near) => {
    client = near;
    if (held === undefined) return void near.write(bytes);
    const all = Buffer.concat([held, bytes]);
    held = all.subarray(-5);
    near.write(all.subarray(0, -5));
    onHeld();
  });
  return {
    port: relayPort,
    hold: () =>
      new Promise<void>((resolve) => {
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
      const received: Buffer[] = [];
      const arrived = new Promise<void>((resolve, reject) => {
        cut.on('data', (bytes: Buffer) => {
          received.push(Buffer.from(bytes));
          if (Buffer.concat(received).length >= sent.length) resolve();
        });
        cut.on('close', () => reject(new Error('The connection was cut')));
      });

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
