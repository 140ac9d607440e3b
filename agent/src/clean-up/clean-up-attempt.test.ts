// Cleaning up after attempts whose agent is gone, on a real sshd.
import { chmodSync, copyFileSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished } from 'vitest';
import type { ScriptTarget } from '../ssh/run-script.ts';
import { accountTest, printsTitle, sshTest } from '../ssh/sshd-setup.ts';
import { type ExecSetup, setupExec } from '../steps/ssh-exec/ssh-exec-setup.ts';
import { cleanUpAttempt } from './clean-up-attempt.ts';

// Those that are killed may take their time to be gone.
const times = { graceMs: 100, killMs: 30_000 };
const waits = 'echo ready $$; while :; do sleep 1000; done';

function reach(t: ExecSetup): ScriptTarget {
  return { pool: t.pool(), request: t.request, scriptTimeoutMs: 30_000, giveUpAfterMs: 30_000 };
}

function runs(pid: string | undefined): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

function newMarker(): string {
  return `cut-${process.pid}.${Date.now()}.1`;
}

sshTest(
  'a command that was cut off is ended, with processes that left its session or are stopped',
  async () => {
    const t = await setupExec({}, { giveUpAfterMs: 200 });
    const marker = newMarker();
    const stopped = 'sh -c "echo stopped \\$\\$; kill -STOP \\$\\$" &';
    const daemon =
      '(setsid nohup sh -c "trap \\"\\" TERM HUP; echo daemon \\$\\$; while :; do sleep 1000; done" &)';
    const other = t.run(
      { command: `trap '' HUP; ${waits.replace('ready', 'other')}` },
      { marker: `${marker}2` },
    );
    const running = t.run({ command: `trap '' HUP; ${stopped} ${daemon}; ${waits}` }, { marker });
    const pids = [/ready (\d+)/, /daemon (\d+)/, /stopped (\d+)/].map(
      async (it) => (await t.sink.seen(it))[1],
    );
    const [pid, daemonPid, stoppedPid] = await Promise.all(pids);
    const [, otherPid] = await t.sink.seen(/other (\d+)/);
    await t.warm.close();
    expect(await running).toMatchObject({ status: 'unknown', reason: 'connection_lost' });
    expect([pid, daemonPid, stoppedPid].map(runs)).toEqual([true, true, true]);
    expect(await cleanUpAttempt(reach(t), marker, times)).toEqual({ found: 'ended' });
    expect([pid, daemonPid, stoppedPid].map(runs)).toEqual([false, false, false]);
    expect(runs(otherPid)).toBe(true);
    await other;
    expect(await cleanUpAttempt(reach(t), `${marker}2`, times)).toEqual({ found: 'ended' });
    expect(await cleanUpAttempt(reach(t), marker, times)).toEqual({ found: 'nothing' });
  },
);

accountTest(
  'the files of a command that survived its agent are removed, whatever its token was',
  async () => {
    const t = await setupExec({}, { giveUpAfterMs: 200 });
    const marker = newMarker();
    const config = { command: `setsid sleep 1000 & ${waits}`, survive_agent_restart: true };
    const running = t.run(config, { marker, directoryName: `${marker}.0123456789abcdef` });
    const [, pid] = await t.sink.seen(/ready (\d+)/);
    await t.warm.close();
    await running;
    expect(runs(pid)).toBe(true);
    expect(await cleanUpAttempt(reach(t), marker, times)).toEqual({ found: 'ended' });
    expect(runs(pid)).toBe(false);
    // The empty directory stays: it prevents a second start.
    const attempts = join(t.sshd.dir, 'home/.opsconductor/attempts');
    expect(readdirSync(attempts)).toEqual([`${marker}.0123456789abcdef`]);
    expect(readdirSync(join(attempts, `${marker}.0123456789abcdef`))).toEqual([]);
  },
);

accountTest('processes that can not be ended are named', async () => {
  const t = await setupExec({}, { giveUpAfterMs: 200 });
  const marker = newMarker();
  // As with sudo: a process of root, which the user may not signal; it is found by descent.
  const asRoot = join(t.sshd.dir, 'as-root');
  copyFileSync('/usr/bin/setpriv', asRoot);
  chmodSync(asRoot, 0o4755);
  const root = `${asRoot} --reuid 0 --regid 0 --clear-groups sleep 1000 & echo root $!`;
  const running = t.run({ command: `trap '' TERM HUP; ${root}; ${waits}` }, { marker });
  const [, pid] = await t.sink.seen(/root (\d+)/);
  onTestFinished(() => {
    if (runs(pid)) process.kill(Number(pid), 'SIGKILL');
  });
  await expect.poll(() => readFileSync(`/proc/${pid}/comm`, 'utf8')).toBe('sleep\n');
  await t.sink.seen(/ready/);
  await t.warm.close();
  await running;
  expect(await cleanUpAttempt(reach(t), marker, { ...times, killMs: 500 })).toEqual({
    found: 'survivors',
    survivors: [{ pid: Number(pid), command: 'sleep' }],
  });
});

accountTest.each([true, false])(
  'a command is stopped and cleaned up after also where startup files print no line end (it survives its agent: %s)',
  async (survive_agent_restart) => {
    const t = await setupExec({ config: [printsTitle] });
    const config = { command: waits, survive_agent_restart };
    const marker = newMarker();
    const running = t.run(config, { marker });
    const [, pid] = await t.sink.seen(/ready (\d+)/);
    expect(await cleanUpAttempt(reach(t), marker, times)).toEqual({ found: 'ended' });
    expect(runs(pid)).toBe(false);
    await running;
    const again = t.run(config);
    await t.sink.seen(/ready[\s\S]*ready/);
    t.stop();
    expect(await again).toMatchObject({ status: 'cancelled' });
  },
);
