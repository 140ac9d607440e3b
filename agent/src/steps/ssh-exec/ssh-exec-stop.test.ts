import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  constants,
  copyFileSync,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished } from 'vitest';
import { accountTest, setupSshd, sshTest } from '../../ssh/sshd-setup.ts';
import { setupExec, setupExecOn } from './ssh-exec-setup.ts';

/** Prints `ready` and its own pid, and waits forever. */
const waits = 'echo ready $$; while :; do sleep 1000; done';

function runs(pid: string | undefined): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

/** Kills at the end of the test what the test leaves alive on purpose. */
function killLater(pid: string | undefined, group = false): void {
  onTestFinished(() => {
    if (pid && runs(pid)) process.kill(group ? -Number(pid) : Number(pid), 'SIGKILL');
  });
}

for (const cause of ['cancelled', 'timed_out'] as const) {
  sshTest(`a stopped command ends as ${cause}, with all its processes`, async () => {
    const t = await setupExec();
    const running = t.run({ command: `sleep 1000 & echo child $!; ${waits}` });
    const [, pid] = await t.sink.seen(/ready (\d+)/);
    const [, child] = await t.sink.seen(/child (\d+)/);
    t.stop(cause);
    expect(await running).toMatchObject({ status: cause, reason: cause, signal: 'TERM' });
    expect([runs(pid), runs(child)]).toEqual([false, false]);
  });
}

sshTest('a command that cleans up on TERM is given time, and its last output is kept', async () => {
  const t = await setupExec();
  const running = t.run({
    command: 'trap "echo cleaned; exit 5" TERM; echo ready; while :; do sleep 0.01; done',
  });
  await t.sink.seen(/ready/);
  t.stop('cancelled', 60_000);
  expect(await running).toMatchObject({ status: 'cancelled', exitCode: 5 });
  expect(t.sink.stdout).toContain('cleaned');
});

sshTest('a command that ignores TERM is killed', async () => {
  const t = await setupExec();
  const running = t.run({ command: `trap "" TERM HUP INT; ${waits}` });
  const [, pid] = await t.sink.seen(/ready (\d+)/);
  t.stop('cancelled', 100);
  expect(await running).toMatchObject({ status: 'cancelled', signal: 'KILL' });
  expect(runs(pid)).toBe(false);
});

sshTest('a process that left the session is found by its marker', async () => {
  const t = await setupExec();
  const daemon = 'setsid sh -c "trap \\"\\" TERM; echo daemon \\$\\$; while :; do sleep 1000; done" &';
  const running = t.run({ command: `${daemon} ${waits}` });
  const [, pid] = await t.sink.seen(/daemon (\d+)/);
  await t.sink.seen(/ready/);
  t.stop('cancelled', 100);
  expect(await running).toMatchObject({ status: 'cancelled' });
  expect(runs(pid)).toBe(false);
});

sshTest('a process without the marker is found by descent', async () => {
  const t = await setupExec();
  const running = t.run({ command: 'env -i setsid -w sh -c "echo child \\$\\$; sleep 1000; true" & wait' });
  const [, pid] = await t.sink.seen(/child (\d+)/);
  t.stop();
  expect(await running).toMatchObject({ status: 'cancelled' });
  expect(runs(pid)).toBe(false);
});

sshTest('a process that can not be seen and holds the output makes the stop unconfirmed', async () => {
  const t = await setupExec({}, { closeMs: 100 });
  // Orphaned, in a session of its own, and with an empty environment.
  const hidden = '(env -i setsid sh -c "echo hidden \\$\\$; sleep 1000; true" &)';
  const running = t.run({ command: `${hidden}; ${waits}` });
  const [, pid] = await t.sink.seen(/hidden (\d+)/);
  killLater(pid, true);
  await t.sink.seen(/ready/);
  await expect.poll(() => readFileSync(`/proc/${pid}/stat`, 'utf8')).toMatch(/\) \S 1 /);
  t.stop();
  const outcome = await running;
  expect(outcome).toMatchObject({ status: 'unknown', reason: 'cancel_unconfirmed' });
  expect(outcome.message).toContain('holds its output open');
});

sshTest('another attempt whose marker has the same beginning is left alone', async () => {
  const t = await setupExec();
  const other = await setupExec();
  const marker = `test-${process.pid}.${Date.now()}.1`;
  const target = { target: t.target, credential: t.credential };
  const first = t.run({ command: waits }, { marker });
  const second = other.run(
    { command: 'echo ready; setsid -w sh -c "sleep 1; exit 3"' },
    { marker: `${marker}2`, ...target },
  );
  await t.sink.seen(/ready/);
  await other.sink.seen(/ready/);
  t.stop();
  expect(await first).toMatchObject({ status: 'cancelled' });
  expect(await second).toMatchObject({ status: 'failed', exitCode: 3 });
});

sshTest('a stop works while the output is held back', async () => {
  const t = await setupExec();
  t.sink.blocked = true;
  const running = t.run({ command: 'echo ready; exec cat /dev/zero' });
  await t.sink.seen(/ready/);
  t.stop();
  const outcome = await running;
  expect(outcome).toMatchObject({ status: 'cancelled', signal: 'TERM' });
  expect(outcome.message).toMatch(/\d+ bytes of output were dropped/);
});

sshTest('a command blocked on its output can still end cleanly', async () => {
  const t = await setupExec();
  t.sink.blocked = true;
  const flood = 'head -c 5000000 /dev/zero';
  // Never one long wait: a process that dash is just starting can miss TERM, and then only KILL would end it.
  const running = t.run({
    command: `trap '${flood}; exit 5' TERM; echo ready; while :; do ${flood}; done`,
  });
  await t.sink.seen(/ready/);
  t.stop('cancelled', 60_000);
  expect(await running).toMatchObject({ status: 'cancelled', exitCode: 5 });
});

sshTest('background processes of a command keep the step open until it is stopped', async () => {
  const t = await setupExec();
  const running = t.run({ command: 'sleep 1000 & echo child $!' });
  const [, pid] = await t.sink.seen(/child (\d+)/);
  t.stop('timed_out');
  const outcome = await running;
  expect(outcome).toMatchObject({ status: 'timed_out', exitCode: 0 });
  expect(runs(pid)).toBe(false);
});

accountTest('a process that survives KILL is named, and the stop is unconfirmed', async () => {
  const t = await setupExec({}, { killMs: 200 });
  // As with sudo: a process of root's, which the user may not signal.
  const asRoot = join(t.sshd.dir, 'as-root');
  copyFileSync('/usr/bin/setpriv', asRoot);
  chmodSync(asRoot, 0o4755);
  const running = t.run({
    command: `${asRoot} --reuid 0 --regid 0 --clear-groups sleep 1000 & echo root $!; ${waits}`,
  });
  const [, pid] = await t.sink.seen(/root (\d+)/);
  killLater(pid);
  await expect.poll(() => readFileSync(`/proc/${pid}/comm`, 'utf8')).toBe('sleep\n');
  t.stop('timed_out', 50);
  const outcome = await running;
  expect(outcome).toMatchObject({ status: 'unknown', reason: 'cancel_unconfirmed' });
  expect(outcome.survivors).toEqual([{ pid: Number(pid), command: 'sleep' }]);
});

sshTest('a stop needs no free session on the connection of the command', async () => {
  const t = await setupExec({ config: ['MaxSessions 1'] });
  const running = t.run({ command: waits });
  await t.sink.seen(/ready/);
  t.stop();
  expect(await running).toMatchObject({ status: 'cancelled' });
});

sshTest('a stop whose connection is lost is confirmed over a new one', async () => {
  const t = await setupExec();
  const running = t.run({ command: `trap "" TERM HUP PIPE; ${waits}` });
  const [, pid] = await t.sink.seen(/ready (\d+)/);
  t.stop('cancelled', 300);
  t.sshd.killSessions();
  expect(await running).toMatchObject({ status: 'cancelled' });
  expect(runs(pid)).toBe(false);
});

sshTest('a stop of a target out of reach is unconfirmed, within its time', async () => {
  const t = await setupExec({}, { giveUpAfterMs: 300 });
  const running = t.run({ command: `trap "" TERM HUP; ${waits}` });
  await t.sink.seen(/ready/);
  t.stop();
  // The sessions hang, as behind a firewall that lost its state; nothing is refused and nothing answers.
  const pids = t.sshd.suspend();
  const outcome = await running;
  expect(outcome).toMatchObject({ status: 'unknown', reason: 'cancel_unconfirmed' });
  expect(outcome.message).toMatch(/[^.]\.$/);
  expect(pids.length).toBeGreaterThan(0);
});

/** Writes a line to a pipe if a reader waits at it; returns whether one did. */
function letGoOn(path: string): boolean {
  try {
    const pipe = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK);
    writeSync(pipe, '\n');
    closeSync(pipe);
    return true;
  } catch {
    return false;
  }
}

/** Sets up an account whose login shell waits until the test releases it, and starts a command there. */
async function setupSlowLogin() {
  const dir = mkdtempSync(join(tmpdir(), 'opsconductor-test-'));
  onTestFinished(() => rmSync(dir, { recursive: true }));
  chmodSync(dir, 0o777);
  const [shell, gate, ended, began] = ['shell', 'gate', 'ended', 'began'].map((name) => join(dir, name));
  execFileSync('mkfifo', ['-m', '666', gate as string]);
  const text = `#!/bin/sh\necho waiting\nread x <${gate}\n/bin/sh "$@"\necho >${ended}\n`;
  writeFileSync(shell as string, text, { mode: 0o755 });
  const t = await setupExec({ account: { name: 'opsdeploy', shell: shell as string } });
  const running = t.run({ command: `echo >${began}` });
  await t.sink.seen(/waiting/);
  /** Releases the login shell, waits until it has ended, and returns whether the command ran. */
  const ranAfterAll = async () => {
    await expect.poll(() => letGoOn(gate as string)).toBe(true);
    await expect.poll(() => existsSync(ended as string)).toBe(true);
    return existsSync(began as string);
  };
  return { t, running, ranAfterAll };
}

accountTest('a command runs after a slow login shell', async () => {
  const { running, ranAfterAll } = await setupSlowLogin();
  expect(await ranAfterAll()).toBe(true);
  expect(await running).toMatchObject({ status: 'succeeded' });
});

accountTest(
  'a stop before the login shell reaches the command is confirmed: the command never runs',
  async () => {
    const { t, running, ranAfterAll } = await setupSlowLogin();
    t.stop();
    expect(await running).toMatchObject({
      status: 'cancelled',
      message: 'The step was stopped before its command started.',
    });
    expect(await ranAfterAll()).toBe(false);
  },
);

accountTest('a command whose connection is lost before the login shell reaches it never began', async () => {
  const { t, running, ranAfterAll } = await setupSlowLogin();
  t.sshd.killSessions();
  expect(await running).toMatchObject({
    status: 'failed',
    reason: 'unreachable',
    message: 'The connection to 127.0.0.1 closed before the command began.',
  });
  expect(await ranAfterAll()).toBe(false);
});

for (const forced of ['cat >/dev/null', 'sleep 1000']) {
  sshTest(`a command that a shell never reaches is given up, as with ${forced}`, async () => {
    const dir = mkdtempSync(join(tmpdir(), 'opsconductor-test-'));
    onTestFinished(() => rmSync(dir, { recursive: true }));
    chmodSync(dir, 0o777);
    const pidFile = join(dir, 'pid');
    const config = [`ForceCommand echo "$$ " >${pidFile}; exec ${forced}`];
    const t = await setupExec({ config }, { beginWithinMs: 50 });
    const running = t.run({ command: 'true' });
    // It may be given up before that shell has begun.
    await expect.poll(() => existsSync(pidFile) && readFileSync(pidFile, 'utf8')).toMatch(/^\d+ $/m);
    killLater(readFileSync(pidFile, 'utf8').trim());
    expect(await running).toMatchObject({
      status: 'failed',
      reason: 'channel_refused',
      message: expect.stringContaining(
        'did not reach the command within 0.05 s; it was not started, and will not be',
      ),
    });
  });
}

sshTest('a command that is stopped before it starts no longer takes a place on the connection', async () => {
  const sshd = await setupSshd();
  const pool = sshd.pool({ maxChannels: 1, maxConnectionsPerTarget: 1 });
  const t = setupExecOn({ ...sshd, pool: () => pool });
  const controller = new AbortController();
  const { signal } = controller;
  const beforeStart = async () => controller.abort({ cause: 'cancelled', killGraceMs: 0 });
  const config = { command: 'true', survive_agent_restart: true };
  expect(await t.run(config, { signal, beforeStart })).toMatchObject({ status: 'cancelled' });
  expect(await t.run({ command: 'true' })).toMatchObject({ status: 'succeeded' });
});

accountTest(
  'a login shell that hangs does not prevent a stop of a command that survives its agent',
  async () => {
    const dir = mkdtempSync(join(tmpdir(), 'opsconductor-test-'));
    onTestFinished(() => rmSync(dir, { recursive: true }));
    chmodSync(dir, 0o755);
    const shell = join(dir, 'hanging-shell');
    writeFileSync(shell, '#!/bin/sh\nexec cat >/dev/null\n', { mode: 0o755 });
    const t = await setupExec({ account: { name: 'opsdeploy', shell } }, { reportMs: 50 });
    const beforeStart = async () => void setImmediate(() => t.stop());
    const running = t.run({ command: 'echo started', survive_agent_restart: true }, { beforeStart });
    expect(await running).toMatchObject({ status: 'unknown', reason: 'cancel_unconfirmed' });
  },
);

sshTest('a tree of processes that fork endlessly, within their limits, is ended completely', async () => {
  const t = await setupExec();
  const marker = `tree-${process.pid}.${Date.now()}.1`;
  const left = () =>
    readdirSync('/proc').filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/environ`, 'utf8').includes(marker) && runs(pid);
      } catch {
        return false;
      }
    });
  // 31 shells that ignore TERM and keep forking; every second one has a session of its own.
  const grow = `grow() { trap "" TERM; echo "up $1"; [ "$1" = 0 ] || { grow $(($1 - 1)) & setsid sh -c "$text; grow $(($1 - 1))" & }; while :; do sleep 0.2; done; }`;
  const command = `text='${grow}'; export text; eval "$text"; grow 4`;
  const running = t.run({ command, limits: { memory_mb: 512, cpu_seconds: 60 } }, { marker });
  await expect.poll(() => t.sink.stdout.match(/up 0/g)?.length, { timeout: 30_000 }).toBe(16);
  expect(left().length).toBeGreaterThan(30);
  t.stop('cancelled', 100);
  expect(await running).toMatchObject({ status: 'cancelled' });
  expect(left()).toEqual([]);
});
