import { EventEmitter } from 'node:events';
import { PassThrough } from 'node:stream';
import { expect, test } from 'vitest';
import { ScpChannel } from './scp-channel.ts';

/** A channel that is full after each write. */
class FullChannel extends EventEmitter {
  readonly stderr = new PassThrough();

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
