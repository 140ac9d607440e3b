import { EventEmitter } from 'node:events';
import { expect, onTestFinished, test, vi } from 'vitest';
import type { SshConnection } from '../../ssh/connection.ts';
import { openSftp } from './open-sftp.ts';

test('a server that ends what it sends, and says of no end, is not waited for without one', async () => {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  const channel = Object.assign(new EventEmitter(), {
    stderr: { resume: () => undefined },
    write: () => setImmediate(() => channel.emit('end')),
    close: vi.fn(),
  });
  const connection = { serverVersion: 'SSH-2.0-x', subsystem: async () => channel };
  const opening = openSftp(connection as unknown as SshConnection, 'web-1', undefined).catch(
    (error: unknown) => error,
  );
  await vi.advanceTimersByTimeAsync(10_000);
  expect(await opening).toMatchObject({ reason: 'connection_lost' });
  expect(channel.close).toHaveBeenCalled();
});
