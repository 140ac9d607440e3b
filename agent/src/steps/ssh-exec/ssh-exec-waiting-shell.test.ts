// The spare shell that is started on a connection and waits for its next step.
import { readdirSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { expect } from 'vitest';
import { sshTest } from '../../ssh/sshd-setup.ts';
import { posixBootstrapCommand } from './ssh-exec-script.ts';
import { setupExec, TestSink } from './ssh-exec-setup.ts';
import {
  hearWhatCame,
  isGone,
  muchText,
  printsMuch,
  runs,
  setupHeldOutput,
  theOne,
  waitingShells,
} from './target-shells-setup.ts';

sshTest('the shell for the next command waits on the target, without a marker', async () => {
  const t = await setupExec();
  await t.run({ command: 'echo $PPID' });
  const connectionPid = Number(t.sink.stdout);
  // A single step is no reason to expect another.
  expect(waitingShells(connectionPid)).toEqual([]);
  await t.run({ command: 'true' });
  await expect.poll(() => waitingShells(connectionPid)).toHaveLength(1);
  const [shell] = waitingShells(connectionPid);
  expect(readFileSync(`/proc/${shell}/environ`, 'utf8')).not.toContain('OPSCONDUCTOR_ATTEMPT');
  await t.run({ command: 'echo "ran in $$"' });
  expect(t.sink.stdout).toContain(`ran in ${shell}\n`);
  await t.warm.close();
  await expect.poll(() => waitingShells(connectionPid)).toEqual([]);
});

sshTest(
  'a waiting shell prepares while the start is recorded, and runs nothing if the start is refused',
  async () => {
    const t = await setupExec();
    await t.run({ command: 'echo $PPID' });
    const connectionPid = Number(t.sink.stdout);
    await t.run({ command: 'true' });
    await expect.poll(() => waitingShells(connectionPid)).toHaveLength(1);
    const [shell] = waitingShells(connectionPid);
    const refused = t.run(
      { command: 'echo started' },
      {
        beforeStart: async () => {
          // Its second shell is running, with the attempt's marker, and can read its stdin.
          await expect
            .poll(() => readFileSync(`/proc/${shell}/environ`, 'utf8'))
            .toContain('OPSCONDUCTOR_ATTEMPT');
          throw new Error('the lease is over');
        },
      },
    );
    await expect(refused).rejects.toThrow('the lease is over');
    await isGone(shell);
    expect(t.sink.stdout).toBe(`${connectionPid}\n`);
  },
);

sshTest('the waiting shell prepares at once for a step that is announced, and runs no other', async () => {
  const t = await setupExec();
  await t.run({ command: 'echo $PPID' });
  const connectionPid = Number(t.sink.stdout);
  await t.run({ command: 'true' });
  await expect.poll(() => waitingShells(connectionPid)).toHaveLength(1);
  const [shell] = waitingShells(connectionPid);
  t.prepare('announced.1.1');
  await expect
    .poll(() => readFileSync(`/proc/${shell}/environ`, 'utf8'))
    .toContain('OPSCONDUCTOR_ATTEMPT=announced.1.1');
  const marks = 'tr "\\0" "\\n" </proc/$$/environ | grep ATTEMPT';
  await t.run({ command: `echo "not in $$"; ${marks}` }, { marker: 'other.1.1' });
  expect(t.sink.stdout).not.toContain(`not in ${shell}\n`);
  expect(t.sink.stdout).toContain('OPSCONDUCTOR_ATTEMPT=other.1.1\n');
  await t.run({ command: `echo "ran in $$"; ${marks}` }, { marker: 'announced.1.1' });
  expect(t.sink.stdout).toContain(`ran in ${shell}\nOPSCONDUCTOR_ATTEMPT=announced.1.1\n`);
});

sshTest(
  'a shell that was prepared for a step that has no use for it is closed at the end of that step',
  async () => {
    const t = await setupExec();
    await t.run({ command: 'echo $PPID' });
    const connectionPid = Number(t.sink.stdout);
    await t.run({ command: 'true' });
    await expect.poll(() => waitingShells(connectionPid)).toHaveLength(1);
    const [shell] = waitingShells(connectionPid);
    t.prepare('announced.1.1');
    await t.run({ command: 'true', pty: true }, { marker: 'announced.1.1' });
    await isGone(shell);
  },
);

for (const [how, config] of [
  ['', []],
  [', though it tells why behind what it printed', [printsMuch]],
] as const) {
  sshTest(`a waiting shell that refuses is not asked twice${how}`, async () => {
    const t = await setupExec({ config: [...config] });
    for (let n = 0; n < 3; n += 1) await t.run({ command: 'echo $PPID' });
    const connectionPid = Number(/\d+/.exec(t.sink.stdout)?.[0]);
    await expect.poll(() => waitingShells(connectionPid)).toHaveLength(1);
    const [shell] = waitingShells(connectionPid);
    const begun: string[] = [];
    const output = new TestSink();
    const outcome = await t.run(
      { command: 'true', working_directory: '/nowhere' },
      {
        output,
        beforeStart: async () => {
          begun.push('begun');
          await isGone(shell);
          await hearWhatCame(t);
        },
      },
    );
    expect(outcome).toMatchObject({ status: 'failed', reason: 'working_directory' });
    expect(begun).toEqual(['begun']);
    expect(output.stdout === (how === '' ? '' : muchText)).toBe(true);
  });
}

sshTest('a waiting shell that has gone costs neither the command nor the next one anything', async () => {
  const t = await setupExec();
  await t.run({ command: 'echo $PPID' });
  const connectionPid = Number(t.sink.stdout);
  await t.run({ command: 'true' });
  const waiting = await theOne(() => waitingShells(connectionPid));
  const begun: string[] = [];
  const outcome = await t.run(
    { command: 'echo done' },
    {
      beforeStart: async () => {
        begun.push('begun');
        // The shell that replaces it is left alone.
        if (begun.length > 1) return;
        process.kill(waiting, 'SIGKILL');
        await isGone(waiting);
        await hearWhatCame(t);
      },
    },
  );
  expect(outcome).toMatchObject({ status: 'succeeded', exitCode: 0 });
  expect(t.sink.stdout).toMatch(/^\d+\ndone\n$/);
  // Once more before it was sent to the replacement.
  expect(begun).toEqual(['begun', 'begun']);
  const next = await theOne(() => waitingShells(connectionPid));
  const output = new TestSink();
  await t.run({ command: 'echo $$' }, { output });
  expect(Number(output.stdout)).toBe(next);
});

sshTest(
  'a waiting shell that has gone leaves no session open, although a process it started holds its output',
  async () => {
    const { t, waiting, holder } = await setupHeldOutput();
    const closed = () => t.sshd.log().match(/Close session: /g)?.length ?? 0;
    await expect.poll(closed).toBe(3);
    let isFirst = true;
    const outcome = await t.run(
      { command: 'echo done' },
      {
        beforeStart: async () => {
          if (!isFirst) return;
          isFirst = false;
          process.kill(waiting, 'SIGKILL');
          await isGone(waiting);
          await hearWhatCame(t);
        },
      },
    );
    expect(outcome).toMatchObject({ status: 'succeeded' });
    expect(runs(holder())).toBe(true);
    // Its own channel, the command's, and that of `hearWhatCame`.
    await expect.poll(closed).toBe(6);
  },
);

sshTest('a forced command is run only for steps, not in advance', async () => {
  const t = await setupExec({ config: ['ForceCommand echo forced; exit 3', 'LogLevel VERBOSE'] });
  for (let n = 0; n < 3; n += 1) {
    expect(await t.run({ command: 'true' })).toMatchObject({ status: 'failed', reason: 'channel_refused' });
  }
  await t.warm.close();
  expect(t.sink.stdout.match(/forced/g)).toHaveLength(3);
  const logged = (words: RegExp) => t.sshd.log().match(words)?.length ?? 0;
  const started = () => logged(/Starting session: forced-command/g);
  // The log arrives later than what it tells of, and a connection's part of it ends with its end.
  await expect.poll(started).toBeGreaterThanOrEqual(3);
  await expect.poll(() => logged(/^Disconnected from user/gm) - logged(/^Accepted publickey/gm)).toBe(0);
  expect(started()).toBe(3);
});

sshTest(
  'while a command runs, the shell of the attempt that follows it is started and prepared',
  async () => {
    const t = await setupExec();
    for (let n = 0; n < 2; n += 1) await t.run({ command: 'true' });
    const follower = `following-${process.pid}.${Date.now()}.1`;
    const running = t.run(
      { command: 'trap "exit 0" TERM; echo "runs as $$"; while :; do sleep 0.05; done' },
      { followedBy: () => [follower] },
    );
    const [, pid] = await t.sink.seen(/runs as (\d+)/);
    const shell = await theOne(() => markedWith(follower));
    process.kill(Number(pid));
    await running;
    await t.run({ command: 'echo "ran in $$"' }, { marker: follower });
    expect(t.sink.stdout).toContain(`ran in ${shell}\n`);
  },
);

sshTest('the shells of the two attempts that follow are prepared at once', async () => {
  const t = await setupExec();
  for (let n = 0; n < 2; n += 1) await t.run({ command: 'true' });
  const followers = [1, 2, 3].map((n) => `both-${process.pid}.${Date.now()}.${n}`);
  const running = t.run(
    { command: 'trap "exit 0" TERM; echo "runs as $$ of $PPID"; while :; do sleep 0.05; done' },
    { followedBy: (most) => followers.slice(0, most) },
  );
  const [, pid, connectionPid] = await t.sink.seen(/runs as (\d+) of (\d+)/);
  const shells = [
    await theOne(() => markedWith(followers[0] ?? '')),
    await theOne(() => markedWith(followers[1] ?? '')),
  ];
  process.kill(Number(pid));
  await running;
  // And no other one: what was asked for before this is there by now.
  await hearWhatCame(t);
  expect(waitingShells(Number(connectionPid))).toEqual([]);
  for (const marker of followers.slice(0, 2)) await t.run({ command: 'echo "ran in $$"' }, { marker });
  expect([...t.sink.stdout.matchAll(/ran in (\d+)/g)].map(([, shell]) => Number(shell))).toEqual(shells);
  expect(markedWith(followers[2] ?? '')).toEqual([]);
});

sshTest('a POSIX login shell waits itself, until one that did so has gone', async () => {
  const t = await setupExec();
  await t.run({ command: 'echo $PPID $SHELL' });
  const [, connectionPid, loginShell = ''] = /^(\d+) (.*)$/m.exec(t.sink.stdout) ?? [];
  expect(loginShell).toMatch(/\/(sh|dash|bash)$/);
  await t.run({ command: 'true' });
  const waiting = async () => {
    const pid = await theOne(() => waitingShells(Number(connectionPid)));
    return { pid, argv: readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0') };
  };
  const itself = await waiting();
  expect(itself.argv.slice(0, 3)).toEqual([basename(loginShell), '-c', posixBootstrapCommand]);
  let isFirst = true;
  await t.run(
    { command: 'true' },
    {
      beforeStart: async () => {
        if (!isFirst) return;
        isFirst = false;
        process.kill(itself.pid, 'SIGKILL');
        await isGone(itself.pid);
        await hearWhatCame(t);
      },
    },
  );
  expect((await waiting()).argv.slice(0, 2)).toEqual(['/bin/sh', '-c']);
});

function markedWith(marker: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && environmentOf(name).includes(`OPSCONDUCTOR_ATTEMPT=${marker}\0`))
    .map(Number);
}

function environmentOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'utf8');
  } catch {
    // It has ended meanwhile, or is another user's.
    return '';
  }
}
