import { EventEmitter } from 'node:events';
import type { ClientChannel } from 'ssh2';
import { expect, onTestFinished, test, vi } from 'vitest';
import type { Become } from '../../ssh/become/become.ts';
import type { SshConnection } from '../../ssh/connection.ts';
import { endedAtOnce, openSftp, sessionOn } from './open-sftp.ts';

test('a server that ends its output without an exit status is not waited for indefinitely', async () => {
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

const asRoot = { method: 'sudo', user: 'root' } as Become;

test('if a program that runs as another user ends, the advice is not about the subsystem', () => {
  const exit = { code: 127, signal: undefined };
  const told = endedAtOnce(exit, { host: 'web-1', become: asRoot });
  expect(told).toMatchObject({ reason: 'sftp_missing', advice: expect.stringContaining('as root') });
  expect(told.message).toBe(
    'The sftp-server that was started as root on web-1 ended at once (it ended with exit code 127).',
  );
  expect(`${told.advice}`).not.toContain('ubsystem');
  expect(endedAtOnce(exit, { host: 'web-1', become: undefined }).advice).toContain('Subsystem sftp');
});

test.each([
  { become: undefined, advice: "A startup file of the user's shell" },
  { become: asRoot, advice: 'Start sftp-server as root' },
])(
  'the advice for an answer that is not SFTP fits how the server was started: $advice',
  async ({ become, advice }) => {
    const channel = Object.assign(new EventEmitter(), {
      stderr: { resume: () => undefined },
      write: () => setImmediate(() => channel.emit('data', Buffer.from('Welcome to this machine'))),
      close: vi.fn(),
    });
    const server = { serverVersion: 'SSH-2.0-OpenSSH_10.0' };
    const opening = sessionOn(channel as unknown as ClientChannel, server, { host: 'web-1', become });
    await expect(opening).rejects.toMatchObject({
      reason: 'sftp_missing',
      advice: expect.stringContaining(advice),
    });
    expect(channel.close).toHaveBeenCalled();
  },
);
