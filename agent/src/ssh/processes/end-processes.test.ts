import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished } from 'vitest';
import { type SshSetup, setupSshd, sshTest } from '../sshd-setup.ts';
import { endProcesses } from './end-processes.ts';
import { attemptProcesses, listProcesses } from './remote-processes.ts';

function stopTarget(t: SshSetup) {
  return { pool: t.pool(), request: t.request, scriptTimeoutMs: 30_000, giveUpAfterMs: 30_000 };
}

function openFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'end-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  chmodSync(folder, 0o777);
  return folder;
}

sshTest('each process is sent TERM once: with its group if its group is known, or by itself', async () => {
  const t = await setupSshd();
  const folder = openFolder();
  const sent = join(folder, 'sent');
  const row = (pid: number, groupId: number) => ({ pid, groupId, parentPid: 1, sessionId: 10, command: 'x' });
  // 41 is in a group whose first process is not of this family.
  const seen = [[row(10, 10), row(20, 10), row(30, 30), row(31, 30), row(41, 40)], []];
  await endProcesses(
    {
      target: stopTarget(t),
      leader: () => 10,
      list: () => Promise.resolve(seen.shift() ?? []),
      // The target's shell records the signals instead of sending them.
      note: `kill() { echo "$2 $4" >>'${sent}'; }`,
    },
    { graceMs: 5000, killMs: 30_000 },
  );
  const receivers = ['-10', '-30', '41'];
  const expected = ['TERM', 'CONT'].flatMap((signal) => receivers.map((to) => `${signal} ${to}`));
  expect(readFileSync(sent, 'utf8').trim().split('\n')).toEqual(expected);
});

sshTest(
  'a process forked between the list and the signal is ended, even without marker and parent',
  async () => {
    const t = await setupSshd();
    const folder = openFolder();
    const [gate, forked] = [join(folder, 'gate'), join(folder, 'forked')];
    execFileSync('mkfifo', ['-m', '666', gate]);
    const connection = await t.connect();
    const channel = await connection.exec('exec /bin/sh');
    const child = `echo child $$; read x <${gate}; sleep 1000 & echo $! >${forked}.new; mv ${forked}.new ${forked}; wait`;
    const output = new Promise<string>((resolve) =>
      channel.once('data', (bytes: Buffer) => resolve(`${bytes}`)),
    );
    const closed = new Promise((resolve) => channel.once('close', resolve));
    channel.stderr.resume();
    channel.end(`env -i PATH="$PATH" setsid sh -c '${child}' </dev/null & wait\n`);
    const leader = Number(/child (\d+)/.exec(await output)?.[1]);
    let lists = 0;
    const target = stopTarget(t);
    const { survivors } = await endProcesses(
      {
        target,
        leader: () => undefined,
        list: async (seen) => {
          const table = await listProcesses(target, 'no.such.marker');
          const found = attemptProcesses(table, lists === 0 ? leader : undefined, lists === 0, seen);
          lists += 1;
          if (lists > 1) return found;
          writeFileSync(gate, '\n');
          await expect.poll(() => existsSync(forked)).toBe(true);
          return found;
        },
      },
      { graceMs: 60_000, killMs: 30_000 },
    );
    expect(survivors).toEqual([]);
    // It would hold the channel's output open.
    await closed;
  },
);
