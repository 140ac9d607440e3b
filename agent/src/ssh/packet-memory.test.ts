import { createHash, randomBytes } from 'node:crypto';
import { expect } from 'vitest';
import { setupSshd, sshTest } from './sshd-setup.ts';

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

for (const cipher of ['aes128-gcm@openssh.com', 'aes256-gcm@openssh.com', 'aes256-ctr']) {
  sshTest(
    `what is sent by ${cipher} arrives as it was, through key exchanges, on connections at once`,
    async () => {
      const t = await setupSshd({ config: [`Ciphers ${cipher}`, 'RekeyLimit 1M'] });
      // Of all sizes: a packet of its own for each write.
      const sent = Array.from({ length: 400 }, (_, n) => randomBytes(1 + ((n * 7919) % 60_000)));
      const received = await Promise.all(
        [1, 2].map(async () => {
          const connection = await t.connect();
          const channel = await connection.exec('sha256sum');
          for (const piece of sent)
            if (!channel.write(piece)) await new Promise((go) => channel.once('drain', go));
          channel.end();
          let text = '';
          for await (const piece of channel) text += piece;
          return text.split(' ')[0];
        }),
      );
      const wanted = sha256(Buffer.concat(sent));
      expect(received).toEqual([wanted, wanted]);
    },
  );
}
