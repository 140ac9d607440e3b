import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished } from 'vitest';
import { setupSshd, sshTest } from '../sshd-setup.ts';
import { endProcesses } from './end-processes.ts';

sshTest('each process is sent TERM once: with its group, or by itself if it has left the group', async () => {
  const t = await setupSshd();
  const folder = mkdtempSync(join(tmpdir(), 'end-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  chmodSync(folder, 0o777);
  const sent = join(folder, 'sent');
  const row = (pid: number, groupId: number) => ({ pid, groupId, parentPid: 1, sessionId: 10, command: 'x' });
  const seen = [[row(10, 10), row(20, 10), row(30, 30)], []];
  await endProcesses(
    {
      target: { pool: t.pool(), request: t.request, scriptTimeoutMs: 5000, giveUpAfterMs: 5000 },
      leader: () => 10,
      list: () => Promise.resolve(seen.shift() ?? []),
      // The target's shell records the signals instead of sending them.
      note: `kill() { echo "$2 $4" >>'${sent}'; }`,
    },
    { graceMs: 5000, killMs: 5000 },
  );
  expect(readFileSync(sent, 'utf8').split('\n')).toEqual(['TERM -10', 'TERM 30', 'CONT -10', 'CONT 30', '']);
});
