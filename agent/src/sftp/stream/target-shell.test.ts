import { afterEach, expect, test, vi } from 'vitest';
import type { SftpLink } from '../remote/sftp-link.ts';
import { TargetShell } from './target-shell.ts';

afterEach(() => vi.useRealTimers());

test('if the target has no room for a shell, the transfer does without one after a while', async () => {
  vi.useFakeTimers();
  const link = {
    shell: (_: string, signal: AbortSignal) =>
      new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason));
      }),
  };
  const opened = TargetShell.open(link as unknown as SftpLink, ['true'], '/srv');
  await vi.advanceTimersByTimeAsync(10_000);
  expect(await opened).toBeUndefined();
});

test('a stop while a shell is being opened is not an error of the shell', async () => {
  const link = { shell: () => Promise.reject({ cause: 'cancelled', killGraceMs: 0 }) };
  expect(await TargetShell.open(link as unknown as SftpLink, ['true'], '/srv')).toBeUndefined();
});
