// Commands that survive their agent, on a real sshd.
import { execFileSync } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import type { ClientChannel } from 'ssh2';
import { expect, vi } from 'vitest';
import { cleanUpAttempt } from '../clean-up/clean-up-attempt.ts';
import type { PooledChannel } from '../ssh/pool/pool.ts';
import { accountTest } from '../ssh/sshd-setup.ts';
import { type ExecSetup, setupExec, TestSink } from '../steps/ssh-exec/ssh-exec-setup.ts';

const survives = { survive_agent_restart: true };

function attemptsOf(t: ExecSetup): string {
  return join(t.sshd.dir, 'home/.opsconductor/attempts');
}

/** Returns the processes that carry the marker of the command or of its supervisor. */
function leftOver(marker: string): number {
  const listed = execFileSync('sh', ['-c', `grep -laF '${marker}' /proc/[0-9]*/environ 2>/dev/null | wc -l`]);
  return Number(listed.toString());
}

/** Kills what a test leaves running. */
function killMarked(marker: string): void {
  const found = `grep -laF '${marker}' /proc/[0-9]*/environ 2>/dev/null`;
  execFileSync('sh', ['-c', `for f in $(${found}); do p=\${f#/proc/}; kill -9 \${p%/environ}; done; true`]);
}

accountTest(
  'a command ends with its exit code, and all its output arrives, each part in its stream',
  async () => {
    const t = await setupExec();
    const outcome = await t.run(
      {
        ...survives,
        command: 'echo out; sleep 0.1; echo err >&2; sleep 0.1; printf last; umask; pwd; exit 7',
        expected_exit_codes: [7],
      },
      { marker: 'm.1.1' },
    );
    expect(outcome).toMatchObject({ status: 'succeeded', exitCode: 7 });
    // How much arrives at a time is random.
    const text = t.sink.parts
      .map(({ stream, bytes }, n) => `${stream === t.sink.parts[n - 1]?.stream ? '' : `|${stream} `}${bytes}`)
      .join('')
      .slice(1);
    expect(text).toBe(`stdout out\n|stderr err\n|stdout last0022\n${join(t.sshd.dir, 'home')}\n`);
    const place = join(attemptsOf(t), 'm.1.1');
    expect(statSync(place).mode & 0o777).toBe(0o700);
    expect(existsSync(join(place, 'script'))).toBe(false);
    for (const file of readdirSync(place)) expect(statSync(join(place, file)).mode & 0o077).toBe(0);
    await expect.poll(() => leftOver('m.1.1')).toBe(0);
  },
);

accountTest('output of a command that survives is given back once the sink has taken it', async () => {
  const t = await setupExec();
  const written: Buffer[] = [];
  t.sink.write = (_stream, bytes) => {
    written.push(bytes);
    return true;
  };
  const outcome = await t.run({ ...survives, command: 'head -c 3000000 /dev/zero' });
  expect(outcome.status).toBe('succeeded');
  expect(written.filter(({ length }) => length === 0).length).toBeGreaterThan(20);
});

accountTest('another agent continues reading a command whose agent is gone, from any byte', async () => {
  const t = await setupExec({}, { giveUpAfterMs: 200 });
  const config = { ...survives, command: `echo started; cat "$HOME/gate"; seq 1 40000; exit 3` };
  execFileSync('mkfifo', ['-m', '666', join(t.sshd.dir, 'home/gate')]);
  const first = t.run(config, { marker: 'm.2.1' });
  await t.sink.seen(/started\n/);
  await t.warm.close();
  const second = new TestSink();
  second.written.stdout = 4;
  const again = t.reattach(config, { marker: 'm.2.1', output: second });
  await second.seen(/ted\n/);
  execFileSync('sh', ['-c', `echo open > ${join(t.sshd.dir, 'home/gate')}`]);
  expect(await again).toMatchObject({ status: 'failed', reason: 'exit_code', exitCode: 3 });
  const numbers = Array.from({ length: 40_000 }, (_, n) => `${n + 1}\n`).join('');
  expect(second.stdout).toBe(`ted\nopen\n${numbers}`);
  t.stop();
  await first;
});

accountTest('a broken connection costs neither output nor outcome, and the command runs once', async () => {
  const t = await setupExec();
  const seconds = 'for i in 1 2 3 4 5 6 7 8 9 10; do head -c 400000 "$HOME/data"; sleep 0.1; done';
  const data = join(t.sshd.dir, 'home/data');
  execFileSync('sh', ['-c', `head -c 400000 /dev/urandom >${data}; chmod 644 ${data}`]);
  const running = t.run({ ...survives, command: `echo ran >>"$HOME/ran"; ${seconds}; exit 5` });
  await expect.poll(() => t.sink.written.stdout, { timeout: 20_000 }).toBeGreaterThan(500_000);
  t.sshd.killSessions();
  expect(await running).toMatchObject({ status: 'failed', exitCode: 5 });
  const whole = createHash('sha256');
  for (let n = 0; n < 10; n += 1) whole.update(readFileSync(data));
  expect(createHash('sha256').update(t.sink.bytes('stdout')).digest()).toEqual(whole.digest());
  expect(readFileSync(join(t.sshd.dir, 'home/ran'), 'utf8')).toBe('ran\n');
});

accountTest('a connection that breaks while the sink is full loses no byte and duplicates none', async () => {
  const t = await setupExec();
  t.sink.blocked = true;
  const opened = vi.spyOn(t.warm, 'open');
  const running = t.run({ ...survives, command: 'seq 1 400000' }, { marker: 'm.19.1' });
  await t.sink.seen(/^1\n/);
  const pooled = (await opened.mock.results[0]?.value) as PooledChannel<ClientChannel>;
  // Bytes that were received from the connection but not read yet.
  await expect.poll(() => pooled.channel.readableLength).toBeGreaterThan(1_000_000);
  const reader = () => readFileSync(join(attemptsOf(t), 'm.19.1/tailer'), 'utf8');
  const first = reader();
  t.sshd.killSessions();
  await expect.poll(reader, { timeout: 20_000 }).not.toBe(first);
  t.sink.unblock();
  expect(await running).toMatchObject({ status: 'succeeded' });
  const numbers = Array.from({ length: 400_000 }, (_, n) => `${n + 1}\n`).join('');
  expect(t.sink.written.stdout).toBe(numbers.length);
  expect(t.sink.stdout === numbers).toBe(true);
});

accountTest('the processor time and memory that a command used are reported', async () => {
  const t = await setupExec();
  const seen = '"$HOME/.opsconductor/attempts/m.14.1/memory"';
  const command = [
    'i=0; while [ $i -lt 60000 ]; do i=$((i + 1)); done',
    "x=$(head -c 24000000 /dev/zero | tr '\\0' x)",
    // It holds the memory until the supervisor has measured all of it (5,900 pages are 24.2 MB).
    `until [ "$(cat ${seen} 2>/dev/null || echo 0)" -gt 5900 ]; do sleep 0.1; done`,
  ].join('\n');
  const outcome = await t.run({ ...survives, command }, { marker: 'm.14.1' });
  expect(outcome).toMatchObject({ status: 'succeeded' });
  expect(outcome.cpuMs).toBeGreaterThan(20);
  expect(outcome.peakMemoryBytes).toBeGreaterThan(24_000_000);
});

accountTest('a command whose measurements can not be written ends like any other', async () => {
  const t = await setupExec();
  const command = 'mkdir "$HOME/.opsconductor/attempts/m.18.1/used"; exit 3';
  const outcome = await t.run({ ...survives, command }, { marker: 'm.18.1' });
  expect(outcome).toMatchObject({ status: 'failed', reason: 'exit_code', exitCode: 3 });
});

accountTest('the directory of an attempt prevents a second start', async () => {
  const t = await setupExec();
  await t.run({ ...survives, command: 'echo ran >>"$HOME/ran"' }, { marker: 'm.3.1' });
  const outcome = await t.run({ ...survives, command: 'echo ran >>"$HOME/ran"' }, { marker: 'm.3.1' });
  expect(outcome).toMatchObject({ status: 'failed', reason: 'no_supervisor' });
  expect(readFileSync(join(t.sshd.dir, 'home/ran'), 'utf8')).toBe('ran\n');
});

accountTest('a command that never began is known not to have run, and can not begin afterwards', async () => {
  const t = await setupExec();
  const config = { ...survives, command: 'echo ran' };
  expect(await t.reattach(config, { marker: 'm.4.1' })).toMatchObject({
    status: 'failed',
    reason: 'unreachable',
  });
  expect(await t.run(config, { marker: 'm.4.1' })).toMatchObject({ reason: 'no_supervisor' });
  expect(t.sink.stdout).toBe('');
});

accountTest('a home directory that others may write to, or a link in its place, is not used', async () => {
  const t = await setupExec();
  const home = join(t.sshd.dir, 'home');
  // Outside the fixture's folder, where the empty directory of each attempt stays.
  const name = `m.${randomUUID()}`;
  const place = '/var/tmp/opsconductor-20001/attempts';
  symlinkSync('/tmp', join(home, '.opsconductor'));
  const outcome = await t.run({ ...survives, command: 'echo fine' }, { marker: `${name}.1` });
  expect(outcome.status).toBe('succeeded');
  expect(existsSync(join(place, `${name}.1`))).toBe(true);
  chmodSync(home, 0o777);
  mkdirSync(join(home, '.other'));
  expect(await t.run({ ...survives, command: 'true' }, { marker: `${name}.2` })).toMatchObject({
    status: 'succeeded',
  });
  expect(existsSync(join(place, `${name}.2`))).toBe(true);
  for (const attempt of [`${name}.1`, `${name}.2`]) {
    // Until then its supervisor may still write to its directory.
    await expect.poll(() => leftOver(attempt)).toBe(0);
    rmSync(join(place, attempt), { recursive: true, force: true });
  }
});

accountTest('a cancel ends the command with all its processes', async () => {
  const t = await setupExec();
  const command = `trap '' TERM; setsid sleep 300 & echo up; while :; do sleep 1; done`;
  const running = t.run({ ...survives, command }, { marker: 'm.6.1' });
  await t.sink.seen(/up/);
  t.stop('cancelled', 200);
  expect(await running).toMatchObject({ status: 'cancelled' });
  await expect.poll(() => leftOver('m.6.1')).toBe(0);
});

accountTest('a command waits if its target keeps too much unconfirmed output', async () => {
  const t = await setupExec();
  t.sink.blocked = true;
  const running = t.run(
    { ...survives, command: 'head -c 60000000 /dev/zero; echo done >&2' },
    { marker: 'm.7.1' },
  );
  const place = join(attemptsOf(t), 'm.7.1');
  const kept = () =>
    readdirSync(place)
      .filter((name) => name.startsWith('s1.'))
      .reduce((bytes, name) => bytes + statSync(join(place, name)).size, 0);
  await expect.poll(() => existsSync(place) && kept(), { timeout: 20_000 }).toBe(32 * 1024 * 1024);
  t.sink.unblock();
  t.sink.confirmAll = true;
  expect(await running).toMatchObject({ status: 'succeeded' });
  expect(t.sink.bytes('stdout').length).toBe(60_000_000);
  expect(kept()).toBeLessThan(32 * 1024 * 1024);
});

accountTest('a restart of the target in the meantime is reported', async () => {
  const t = await setupExec();
  const running = t.run({ ...survives, command: 'echo up; sleep 1000' }, { marker: 'm.8.1' });
  await t.sink.seen(/up/);
  // As after a restart: the command began under another boot id.
  writeFileSync(join(attemptsOf(t), 'm.8.1/boot'), 'another boot\n');
  t.sshd.killSessions();
  const outcome = await running;
  expect(outcome).toMatchObject({ status: 'unknown', reason: 'target_rebooted' });
  expect(outcome.message).toContain('was restarted');
  killMarked('m.8.1');
});

accountTest('a killed supervisor leaves the end unknown, and that is reported', async () => {
  const t = await setupExec();
  const running = t.run({ ...survives, command: 'echo up; sleep 1000' }, { marker: 'm.9.1' });
  await t.sink.seen(/up/);
  const [pid] = readFileSync(join(attemptsOf(t), 'm.9.1/super'), 'utf8').split(' ');
  process.kill(Number(pid), 'SIGKILL');
  t.sshd.killSessions();
  expect(await running).toMatchObject({ status: 'unknown', reason: 'supervisor_lost' });
  killMarked('m.9.1');
});

accountTest(
  'the last output before a command goes quiet is shown at once, however much came before',
  async () => {
    const t = await setupExec();
    execFileSync('mkfifo', ['-m', '666', join(t.sshd.dir, 'home/gate')]);
    const openGate = () => execFileSync('sh', ['-c', `echo open > ${join(t.sshd.dir, 'home/gate')}`]);
    const much = `head -c 5000000 /dev/zero | tr '\\0' x; echo; echo last`;
    const running = t.run(
      { ...survives, command: `${much}; cat "$HOME/gate"; sleep 0.05; echo aside >&2; cat "$HOME/gate"` },
      { marker: 'm.10.1' },
    );
    await t.sink.seen(/\nlast\n/);
    openGate();
    await expect.poll(() => t.sink.parts.some(({ stream }) => stream === 'stderr')).toBe(true);
    const shownBefore = t.sink.parts.slice(
      0,
      t.sink.parts.findIndex(({ stream }) => stream === 'stderr'),
    );
    expect(shownBefore.map(({ bytes }) => bytes).join('')).toMatch(/x\nlast\nopen\n$/);
    openGate();
    expect(await running).toMatchObject({ status: 'succeeded' });
    expect(t.sink.bytes('stdout').length).toBe(5_000_000 + '\nlast\nopen\nopen\n'.length);
    await expect.poll(() => leftOver('m.10.1')).toBe(0);
  },
);

accountTest(
  'a shell waits for the next command, and one that has gone in the meantime costs nothing',
  async () => {
    const t = await setupExec();
    await t.run({ command: 'echo $PPID $$' });
    const [connectionPid = 0, ...used] = t.sink.stdout.split(' ').map(Number);
    const run = (marker: string, beforeStart?: () => Promise<void>) =>
      t.run(
        { ...survives, command: 'true' },
        { marker, ...(beforeStart === undefined ? {} : { beforeStart }) },
      );
    const shellOf = (marker: string) => Number(readFileSync(join(attemptsOf(t), marker, 'tailer'), 'utf8'));
    // A command's end is reported before its shell is gone.
    const waiting = () => shellsOf(connectionPid).filter((pid) => !used.includes(pid));
    await run('m.11.1');
    used.push(shellOf('m.11.1'));
    await expect.poll(waiting).toHaveLength(1);
    const [shell = 0] = waiting();
    await run('m.11.2');
    expect(shellOf('m.11.2')).toBe(shell);
    used.push(shell);
    await expect.poll(waiting).toHaveLength(1);
    // Never 0: signals to pid 0 go to all processes of the suite.
    const next = waiting()[0] ?? expect.fail('no shell waits');
    const outcome = await run('m.11.3', async () => {
      if (!existsSync(`/proc/${next}`)) return;
      process.kill(next, 'SIGKILL');
      await expect.poll(() => existsSync(`/proc/${next}`)).toBe(false);
      // Its end arrives on the connection before that of a command that is run later.
      const probe = await t.warm.open(t.request, (connection) => connection.exec('exec sleep 0.1'));
      await once(probe.channel.resume(), 'close');
      probe.release();
    });
    expect(outcome).toMatchObject({ status: 'succeeded' });
    expect(shellOf('m.11.3')).not.toBe(next);
  },
);

/** Returns plain shells that a connection's process on the target has started. */
function shellsOf(connectionPid: number): number[] {
  return readdirSync('/proc').flatMap((name) => {
    try {
      const parent = /^PPid:\t(\d+)$/m.exec(readFileSync(`/proc/${name}/status`, 'utf8'))?.[1];
      const isShell = readFileSync(`/proc/${name}/cmdline`, 'utf8') === '/bin/sh\0';
      return isShell && Number(parent) === connectionPid ? [Number(name)] : [];
    } catch {
      return [];
    }
  });
}

accountTest(
  'another agent continues where the stored output ends, and the first one leaves it the command',
  async () => {
    const t = await setupExec();
    const gate = join(t.sshd.dir, 'home/gate-15');
    execFileSync('mkfifo', ['-m', '666', gate]);
    const command = `echo one; cat ${gate}; echo two; exit 5`;
    const first = t.run({ ...survives, command }, { marker: 'm.15.1' });
    first.catch(() => undefined);
    await t.sink.seen(/one\n/);
    const other = new TestSink();
    other.written.stdout = 4;
    const second = t.reattach(
      { ...survives, command: '-' },
      { marker: 'm.15.1', output: other, collector: 1, begunAtMs: performance.now() },
    );
    await expect(first).rejects.toThrow('another agent collects this command');
    writeFileSync(gate, '');
    expect(await second).toMatchObject({ status: 'failed', exitCode: 5 });
    expect(other.stdout).toBe('two\n');
    expect(t.sink.stdout).toBe('one\n');
  },
);

accountTest(
  'if an agent goes away while it ends a command, the next one does not report an end of the command’s own',
  async () => {
    const t = await setupExec();
    const attempt = { marker: 'm.16.1', directoryName: 'm.16.1.0123456789abcdef' };
    const config = { ...survives, command: 'echo one; exec sleep 1000' };
    const first = t.run(config, attempt);
    await t.sink.seen(/one\n/);
    t.stop('timed_out');
    expect(await first).toMatchObject({ status: 'timed_out', signal: 'TERM' });
    const second = new TestSink();
    const goesOn = new AbortController().signal;
    const again = t.reattach(config, { ...attempt, output: second, collector: 1, signal: goesOn });
    expect(await again).toMatchObject({ status: 'timed_out', reason: 'timed_out', signal: 'TERM' });
    expect(second.stdout).toBe('one\n');
  },
);

accountTest(
  'the output of a command that was cleaned up after is there for the agent that comes back',
  async () => {
    const t = await setupExec();
    const attempt = { marker: 'm.17.1', directoryName: 'm.17.1.0123456789abcdef' };
    const config = { ...survives, command: `trap 'echo last; exit 0' TERM; echo one; sleep 1000 & wait` };
    const first = t.run(config, attempt);
    await t.sink.seen(/one\n/);
    await t.warm.close();
    await first;
    const reach = { pool: t.pool(), request: t.request, scriptTimeoutMs: 5_000, giveUpAfterMs: 5_000 };
    const times = { graceMs: 5_000, killMs: 5_000 };
    expect(await cleanUpAttempt(reach, attempt.marker, { ...times, keepsOutput: true })).toEqual({
      found: 'ended',
    });
    const second = new TestSink();
    const outcome = await t.reattach(config, { ...attempt, output: second });
    expect(outcome).toMatchObject({ status: 'cancelled', reason: 'cancelled', exitCode: 0 });
    expect(outcome.message).toContain('had been given up');
    expect(second.stdout).toBe('one\nlast\n');
    await cleanUpAttempt(reach, attempt.marker, times);
    expect(readdirSync(join(attemptsOf(t), attempt.directoryName))).toEqual([]);
  },
);

accountTest('a login shell that prints much before the command costs nothing of its output', async () => {
  const banner = `head -c 100000 /dev/zero | tr "\\0" x`;
  const t = await setupExec({ config: [`ForceCommand ${banner}; eval "$SSH_ORIGINAL_COMMAND"`] });
  expect(await t.run({ ...survives, command: 'echo out; exit 3' })).toMatchObject({ exitCode: 3 });
  expect(t.sink.stdout).toBe('out\n');
});
