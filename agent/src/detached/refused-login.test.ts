// A surviving command whose host, once the connection was lost, refuses to let its agent in again.
import { expect, onTestFinished, test, vi } from 'vitest';
import { SshError, type SshErrorDetails } from '../ssh/ssh-error.ts';
import { TestSink } from '../steps/ssh-exec/ssh-exec-setup.ts';
import { DetachedCommand } from './detached-command.ts';

/** Follows a command for a time on the clock, and returns how often its host was asked for a channel. */
async function asked(reason: SshErrorDetails['reason'], ms: number): Promise<number> {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  const error = new SshError({ reason, message: 'No.', advice: 'Look at the host.' });
  const open = vi.fn(() => Promise.reject(error));
  const sink = new TestSink();
  const command = new DetachedCommand({
    pool: { open, isClosed: false } as never,
    request: { target: {} } as never,
    ...{ name: 'm.1.1', become: undefined, sink, kept: sink.kept },
  });
  await vi.advanceTimersByTimeAsync(ms);
  command.close();
  expect(await command.ended).toEqual({ connectionLost: true });
  return open.mock.calls.length;
}

test.each(['auth_failed', 'become_refused'] as const)(
  '%s: the host is asked twice within 15 minutes, which locks no account',
  async (reason) => {
    expect(await asked(reason, 15 * 60_000)).toBe(2);
    expect(await asked(reason, 32 * 60_000)).toBe(4);
  },
);

test('a host that is out of reach is asked often', async () => {
  expect(await asked('unreachable', 60_000)).toBeGreaterThan(5);
});
