import { EventEmitter } from 'node:events';
import { PassThrough } from 'node:stream';
import { expect, test } from 'vitest';
import { ScpChannel } from './scp-channel.ts';

/** A channel that is full after each write. */
class FullChannel extends EventEmitter {
  readonly stderr = new PassThrough();

  resume(): void {}

  write(): boolean {
    setImmediate(() => this.emit('drain'));
    return false;
  }
}

test('a write that waits for room leaves no listener on the channel', async () => {
  const full = new FullChannel();
  const channel = new ScpChannel(full as never, 'web-1');
  const before = full.listenerCount('close') + full.listenerCount('drain');
  for (let n = 0; n < 20; n += 1) await channel.send('x');
  expect(full.listenerCount('close') + full.listenerCount('drain')).toBe(before);
});

test('waiting for a silent target ends on a stop', async () => {
  const channel = new ScpChannel(new FullChannel() as never, 'web-1');
  const waiting = channel.exactly(1);
  channel.stop();
  await expect(waiting).rejects.toMatchObject({ reason: 'transfer_cut' });
});

test('what a target sends byte by byte is read in larger pieces, so that waiting bytes take little memory', async () => {
  const bytes = Buffer.from(Array.from({ length: 5_000 }, (_, n) => n % 251));
  const from = new FullChannel();
  const channel = new ScpChannel(from as never, 'web-1');
  for (let at = 0; at < bytes.length; at += 1) from.emit('data', bytes.subarray(at, at + 1));
  const pieces: Buffer[] = [];
  for (let left = bytes.length; left > 0; left -= pieces.at(-1)?.length ?? left)
    pieces.push(await channel.upTo(bytes.length));
  expect(Buffer.concat(pieces).equals(bytes)).toBe(true);
  expect(pieces.length).toBeLessThan(20);
});
