import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished } from 'vitest';
import { accountTest, setupSshd, sshTest } from '../../ssh/sshd-setup.ts';
import { type ExecSetup, setupExec, setupExecOn, TestSink } from './ssh-exec-setup.ts';

sshTest('a command succeeds, with its output apart and its stdin empty', async () => {
  const t = await setupExec();
  const outcome = await t.run({
    command: 'echo out; echo err >&2; cat; echo "$0 $# [$OPSCONDUCTOR_ATTEMPT]"',
  });
  expect(outcome).toMatchObject({ status: 'succeeded', exitCode: 0, ssh: { reused: false } });
  expect(outcome.executionTimeMs).toBeGreaterThanOrEqual(0);
  expect(t.sink.stdout).toMatch(/^out\n\/bin\/sh 0 \[test-[\d.-]+\]\n$/);
  expect(t.sink.stderr).toBe('err\n');
});

sshTest('the next command runs on the same connection', async () => {
  const t = await setupExec();
  const first = await t.run({ command: 'true' });
  const second = await t.run({ command: 'true' });
  expect(second.ssh).toEqual({ ...first.ssh, reused: true });
});

for (const [command, exitCode] of [
  ['exit 1', 1],
  ['exit 255', 255],
  ['/etc/passwd', 126],
  ['no-such-command-here', 127],
  ['set -e; false; echo not reached', 1],
  ['trap "echo bye" EXIT; exit 4', 4],
  ['exec sh -c "exit 9"', 9],
  ['f() { return 6; }; f', 6],
  ['(exit 8)', 8],
  ["echo 'no end", 2],
  ['echo ok; )', 2],
  ['if true', 2],
] as const) {
  sshTest(`\`${command}\` ends with exit code ${exitCode}`, async () => {
    const t = await setupExec();
    expect(await t.run({ command })).toMatchObject({ status: 'failed', reason: 'exit_code', exitCode });
    expect(t.sink.stdout).not.toContain('not reached');
  });
}

sshTest('an expected exit code is success, and only an expected one', async () => {
  const t = await setupExec();
  expect((await t.run({ command: 'exit 3', expected_exit_codes: [0, 3] })).status).toBe('succeeded');
  expect((await t.run({ command: 'exit 0', expected_exit_codes: [3] })).status).toBe('failed');
});

sshTest('a command ended by a signal says which', async () => {
  const t = await setupExec();
  const outcome = await t.run({ command: 'kill -KILL $$' });
  expect(outcome).toMatchObject({ status: 'failed', reason: 'signal', signal: 'KILL' });
  expect(outcome.exitCode).toBeUndefined();
});

sshTest('environment values and directories of any text arrive as they are', async () => {
  const t = await setupExec();
  const hostile = `it's "quoted" $HOME \`id\` $(id) \\ ! # ~ * ; & | < > \n second line\t\u00e9 \u{1f600} 'x''y'`;
  const directory = join(t.sshd.dir, 'a dir\'\n$(touch owned) `id` "x" -n');
  mkdirSync(directory, { mode: 0o755 });
  const outcome = await t.run({
    command: 'printf "%s" "$HOSTILE"; printf "%s" "$PWD"',
    working_directory: directory,
    environment: { HOSTILE: hostile, IFS: ';', CDPATH: '/etc' },
  });
  expect(outcome.status).toBe('succeeded');
  expect(t.sink.stdout).toBe(hostile + directory);
});

sshTest('the environment can not take the marker away', async () => {
  const t = await setupExec();
  await t.run({ command: 'echo $OPSCONDUCTOR_ATTEMPT', environment: { OPSCONDUCTOR_ATTEMPT: 'other' } });
  expect(t.sink.stdout).toMatch(/^test-/);
});

for (const [path, word] of [
  ['/no/such/directory', 'does not exist'],
  ['/etc/passwd', 'is not a directory'],
] as const) {
  sshTest(`a working directory that ${word} starts nothing`, async () => {
    const t = await setupExec();
    const outcome = await t.run({ command: 'echo started', working_directory: path });
    expect(outcome).toMatchObject({ status: 'failed', reason: 'working_directory' });
    expect(outcome.message).toContain(word);
    expect(t.sink.parts).toEqual([]);
  });
}

accountTest('a working directory that may not be entered says so', async () => {
  const t = await setupExec();
  const outcome = await t.run({ command: 'echo started', working_directory: '/root' });
  expect(outcome.message).toContain('may not be entered');
});

sshTest('no argument of any process shows the command, its environment or its marker', async () => {
  const t = await setupExec();
  const running = t.run({
    command: ': top-secret-command; echo ready $$ $PPID; read -r _ <"$FIFO"',
    environment: { SECRET: 'top-secret-value', FIFO: '/dev/zero' },
  });
  await t.sink.seen(/ready (\d+) (\d+)/);
  const lines = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .map((name) => (existsSync(`/proc/${name}/cmdline`) ? read(`/proc/${name}/cmdline`) : ''));
  expect(lines.some((line) => line.includes('/bin/sh'))).toBe(true);
  for (const line of lines) expect(line).not.toMatch(/top-secret|OPSCONDUCTOR_ATTEMPT=/);
  t.stop('cancelled', 0);
  await running;
});

sshTest('a command of 300 KB is no argument, so no argument limit applies', async () => {
  const t = await setupExec();
  const text = "it's ".repeat(60_000);
  const outcome = await t.run({ command: `cat <<'END'\n${text}\nEND\n` });
  expect(outcome.status).toBe('succeeded');
  expect(t.sink.stdout).toBe(`${text}\n`);
});

sshTest('3 MB of mixed stdout and stderr arrive whole under back-pressure', async () => {
  const t = await setupExec();
  const block = 'head -c 65536 /dev/zero | tr "\\0"';
  const running = t.run({
    command: `i=0; while [ $i -lt 24 ]; do ${block} o; ${block} e >&2; i=$((i+1)); done`,
  });
  t.sink.blocked = true;
  let drains = 0;
  let over = false;
  running.finally(() => {
    over = true;
  });
  while (!over) {
    await new Promise(setImmediate);
    t.sink.unblock();
    drains += 1;
    t.sink.blocked = true;
  }
  expect((await running).status).toBe('succeeded');
  expect(drains).toBeGreaterThan(1);
  const digest = (bytes: Buffer | string) => createHash('sha256').update(bytes).digest('hex');
  expect(digest(t.sink.bytes('stdout'))).toBe(digest('o'.repeat(24 * 65536)));
  expect(digest(t.sink.bytes('stderr'))).toBe(digest('e'.repeat(24 * 65536)));
});

sshTest('a full sink stops the reading from the target', async () => {
  const t = await setupExec();
  t.sink.blocked = true;
  const running = t.run({ command: 'head -c 50000000 /dev/zero' });
  await t.sink.seen(/\0/);
  const taken = t.sink.parts.length;
  // As much through another channel meanwhile: that one's reading goes on, on the same connection.
  const other = new TestSink();
  await t.run({ command: 'head -c 50000000 /dev/zero' }, { output: other });
  expect(other.bytes('stdout').length).toBe(50_000_000);
  expect(t.sink.parts.length).toBeLessThan(taken + 10);
  t.sink.unblock();
  await running;
  expect(t.sink.bytes('stdout').length).toBe(50_000_000);
});

for (const which of ['first', 'second'] as const) {
  sshTest(`nothing of a connection's ${which} step begins when the start is no longer allowed`, async () => {
    const { t, scriptIsThere } = await setupStep(which);
    let shell: number | undefined;
    const refused = t.run(
      { command: 'echo started' },
      {
        beforeStart: async () => {
          shell = await scriptIsThere();
          throw new Error('the lease is over');
        },
      },
    );
    await expect(refused).rejects.toThrow('the lease is over');
    await isGone(shell);
    expect((await t.run({ command: 'echo fine' })).status).toBe('succeeded');
    expect(t.sink.stdout).toBe('fine\n');
  });

  sshTest(`a stop before the start starts nothing of a connection's ${which} step`, async () => {
    const { t, scriptIsThere } = await setupStep(which);
    let shell: number | undefined;
    const outcome = await t.run(
      { command: 'echo started' },
      {
        beforeStart: async () => {
          shell = await scriptIsThere();
          t.stop('timed_out');
        },
      },
    );
    expect(outcome).toMatchObject({ status: 'timed_out', reason: 'timed_out' });
    expect(outcome.executionTimeMs).toBeUndefined();
    await isGone(shell);
    expect(t.sink.parts).toEqual([]);
  });

  sshTest(
    `a connection lost before its ${which} command may begin is a failure, not an unknown`,
    async () => {
      const { t, scriptIsThere } = await setupStep(which);
      let shell: number | undefined;
      const outcome = await t.run(
        { command: 'echo started' },
        {
          beforeStart: async () => {
            shell = await scriptIsThere();
            const { connection } = await t.warm.open(t.request, async () => ({}));
            t.sshd.killSessions();
            await connection.closed;
          },
        },
      );
      expect(outcome).toMatchObject({ status: 'failed', reason: 'unreachable' });
      await isGone(shell);
      expect(t.sink.parts).toEqual([]);
    },
  );
}

sshTest('a connection lost while the command runs leaves its end unknown', async () => {
  const t = await setupExec();
  const running = t.run({ command: 'echo ready $$; exec sleep 1000' });
  const [, pid] = await t.sink.seen(/ready (\d+)/);
  t.sshd.killSessions();
  const outcome = await running;
  expect(outcome).toMatchObject({ status: 'unknown', reason: 'connection_lost' });
  expect(outcome.exitCode).toBeUndefined();
  process.kill(Number(pid), 'SIGKILL');
});

sshTest('a target that can not be opened is a failure with the reason of the connection', async () => {
  const t = await setupExec();
  const unknown = await t.run({ command: 'true' }, { target: { ...t.target, hostKeys: [] } });
  expect(unknown).toMatchObject({ status: 'failed', reason: 'host_key_unknown' });
  expect(unknown.advice).toContain('ssh-ed25519');
  await t.sshd.stop();
  const down = await t.run({ command: 'true' }, { target: { ...t.target, id: 2 } });
  expect(down).toMatchObject({ status: 'failed', reason: 'connection_refused' });
});

accountTest('a login shell that lets nobody in says that nothing was started', async () => {
  const t = await setupExec({ account: { name: 'opsdeploy', shell: '/usr/sbin/nologin' } });
  const outcome = await t.run({ command: 'echo started' });
  expect(outcome).toMatchObject({ status: 'failed', reason: 'channel_refused' });
  expect(t.sink.stdout).not.toContain('started');
});

for (const shell of ['/bin/bash', '/bin/dash', '/usr/bin/fish', '/bin/csh', '/usr/bin/zsh', '/usr/bin/ksh']) {
  if (!existsSync(shell)) continue;
  accountTest(`a command runs under the login shell ${shell}`, async () => {
    const t = await setupExec({ account: { name: 'opsdeploy', shell } });
    const outcome = await t.run({
      command: 'echo "$GREETING"; exit 3',
      environment: { GREETING: "it's !me" },
    });
    expect(outcome).toMatchObject({ reason: 'exit_code', exitCode: 3 });
    expect(t.sink.stdout).toBe("it's !me\n");
  });
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/** Shells that wait for a script on the connection whose process on the target is given. */
function waitingShells(connectionPid: number): number[] {
  return childrenOf(connectionPid).filter((pid) =>
    read(`/proc/${pid}/cmdline`).includes('read -r OPSCONDUCTOR_ATTEMPT'),
  );
}

function childrenOf(parent: number): number[] {
  return readdirSync('/proc')
    .filter((name) => read(`/proc/${name}/status`).includes(`\nPPid:\t${parent}\n`))
    .map(Number);
}

/** The one shell of a connection that has read its script up to the word: descriptor 3 is what it reads that from. */
async function shellAtTheWord(connectionPid: number): Promise<number> {
  return theOne(() =>
    // Not what is about to become a shell, and has descriptors of its server still.
    childrenOf(connectionPid).filter(
      (pid) => read(`/proc/${pid}/cmdline`) === '/bin/sh\0' && existsSync(`/proc/${pid}/fd/3`),
    ),
  );
}

/** As soon as there is one, and no other. */
async function theOne(pids: () => number[]): Promise<number> {
  let found: number[] = [];
  await expect
    .poll(() => {
      found = pids();
      return found;
    })
    .toHaveLength(1);
  // 0 would be all processes of the suite.
  return found[0] ?? expect.fail('no process');
}

/** What other shells of the connection have printed, and how they ended, is told before the end of a command that comes after them. */
async function hearWhatCame(t: ExecSetup): Promise<void> {
  const probe = await t.warm.open(t.request, (connection) => connection.exec('exec sleep 0.1'));
  await once(probe.channel.resume(), 'close');
  probe.release();
}

/** One whose parent was killed may be there for a while until somebody hears that it has ended. */
function runs(pid: number | undefined): boolean {
  const status = read(`/proc/${pid}/status`);
  return status !== '' && !/^State:\s+[ZX]/m.test(status);
}

const isGone = (pid: number | undefined) => expect.poll(() => runs(pid)).toBe(false);

/** Ends the shell that waits for the word, and has its connection told. */
async function endAtTheWord(t: ExecSetup, connectionPid: number): Promise<void> {
  const shell = await shellAtTheWord(connectionPid);
  process.kill(shell, 'SIGKILL');
  await isGone(shell);
  await hearWhatCame(t);
}

/** The second step's script is sent while its start is recorded, as a shell of ours has answered on the connection; the first one's is not. */
async function setupStep(which: 'first' | 'second') {
  const t = await setupExec();
  if (which === 'first') return { t, scriptIsThere: async () => undefined };
  await t.run({ command: 'echo $PPID' });
  const connectionPid = Number(t.sink.stdout);
  t.sink.parts.length = 0;
  return { t, scriptIsThere: () => shellAtTheWord(connectionPid) };
}

/** A shell prints that much by itself, as by a startup file: more than is kept of what it prints ahead of its command. */
const printsMuch = 'ForceCommand head -c 1048576 /dev/zero | tr "\\0" x; eval "$SSH_ORIGINAL_COMMAND"';
const muchText = 'x'.repeat(1_048_576);

sshTest('the shell for the next command waits on the target, without a marker', async () => {
  const t = await setupExec();
  await t.run({ command: 'echo $PPID' });
  const connectionPid = Number(t.sink.stdout);
  // One step alone is no reason to expect another.
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
  'a waiting shell makes ready while the start is recorded, and runs nothing when it may not',
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
          // Its second stage is there, under the attempt's mark, and has its stdin to read.
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

sshTest(
  'a shell that has the script while the start is recorded begins the command after that, and keeps no output from it',
  async () => {
    // As a login shell's startup file may print something.
    const t = await setupExec({ config: ['ForceCommand echo hello; eval "$SSH_ORIGINAL_COMMAND"'] });
    for (let n = 0; n < 2; n += 1) await t.run({ command: 'echo $PPID' });
    const connectionPid = Number(/\d+/.exec(t.sink.stdout)?.[0]);
    await expect.poll(() => waitingShells(connectionPid)).toHaveLength(1);
    const [shell] = waitingShells(connectionPid);
    const before = t.sink.parts.length;
    const outcome = await t.run(
      { command: 'echo began; echo failed >&2; exit 3' },
      {
        beforeStart: async () => {
          // It has read the script up to the word: descriptor 3 is what it reads that from.
          await expect.poll(() => existsSync(`/proc/${shell}/fd/3`)).toBe(true);
          expect(t.sink.parts).toHaveLength(before);
        },
      },
    );
    expect(outcome).toMatchObject({ status: 'failed', exitCode: 3 });
    const said = t.sink.parts.slice(before).map(({ stream, bytes }) => [stream, bytes.toString()]);
    expect(said).toEqual([
      ['stdout', 'hello\n'],
      ['stdout', 'began\n'],
      ['stderr', 'failed\n'],
    ]);
  },
);

sshTest(
  '1 MiB that a shell prints before its command may begin arrives once, as there is room for it, and is not all read before that',
  async () => {
    const t = await setupExec({ config: [printsMuch] });
    await t.run({ command: 'echo $PPID' });
    const connectionPid = Number(/\d+/.exec(t.sink.stdout)?.[0]);
    const output = new TestSink();
    output.blocked = true;
    const running = t.run(
      { command: 'echo began; echo failed >&2' },
      {
        output,
        beforeStart: async () => {
          await shellAtTheWord(connectionPid);
          await hearWhatCame(t);
          expect(output.parts).toEqual([]);
        },
      },
    );
    await output.seen(/x/);
    // A sink without room is given no more than the piece that it has no room for.
    expect(output.parts).toHaveLength(1);
    output.unblock();
    // What was kept follows in the turn in which there is room, and before anything else is read.
    await Promise.resolve();
    const ahead = output.bytes('stdout').length;
    expect(ahead).toBeGreaterThan(256 * 1024);
    expect(ahead).toBeLessThan(512 * 1024);
    expect(await running).toMatchObject({ status: 'succeeded' });
    expect(output.stdout === `${muchText}began\n`).toBe(true);
    expect(output.stderr).toBe('failed\n');
  },
);

sshTest('the time that a shell has to get to its command counts from when that may begin', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'opsconductor-test-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  chmodSync(directory, 0o777);
  const flag = join(directory, 'flag');
  // Where there is that folder the next shell takes the script and never gets to its command.
  const config = [
    `ForceCommand rmdir ${flag} 2>/dev/null && exec cat >/dev/null; eval "$SSH_ORIGINAL_COMMAND"`,
  ];
  const sshd = await setupSshd({ config });
  const pool = sshd.pool();
  const t = setupExecOn({ ...sshd, pool: () => pool });
  await t.run({ command: 'echo $PPID' });
  const connectionPid = Number(t.sink.stdout);
  const hasty = setupExecOn({ ...sshd, pool: () => pool }, { beginWithinMs: 50 });
  const inTime = await hasty.run(
    { command: 'echo began' },
    {
      beforeStart: async () => {
        await shellAtTheWord(connectionPid);
        await hearWhatCame(t);
      },
    },
  );
  expect(inTime).toMatchObject({ status: 'succeeded' });
  expect(hasty.sink.stdout).toBe('began\n');
  // The shell that waits for a third step began before.
  pool.retire();
  await t.run({ command: 'true' });
  mkdirSync(flag);
  let permittedAt = 0;
  const late = await hasty.run(
    { command: 'echo began' },
    {
      beforeStart: async () => {
        await expect.poll(() => existsSync(flag)).toBe(false);
        await hearWhatCame(t);
        permittedAt = performance.now();
      },
    },
  );
  expect(late.message).toContain('has not got to the command within 0.05 s');
  expect(performance.now() - permittedAt).toBeGreaterThan(49);
  expect(hasty.sink.stdout).toBe('began\n');
});

for (const [how, config] of [
  ['', []],
  [', though it had told that it is ready behind what it printed', [printsMuch]],
] as const) {
  sshTest(`a shell that was ended while the start was recorded has not begun the command${how}`, async () => {
    const t = await setupExec({ config: [...config] });
    await t.run({ command: 'echo $PPID' });
    const connectionPid = Number(/\d+/.exec(t.sink.stdout)?.[0]);
    const outcome = await t.run(
      { command: 'echo began' },
      {
        beforeStart: async () => {
          await endAtTheWord(t, connectionPid);
        },
      },
    );
    expect(outcome).toMatchObject({ status: 'failed', reason: 'channel_refused' });
    expect(outcome.executionTimeMs).toBeUndefined();
    expect(t.sink.stdout).not.toContain('began');
  });
}

for (const [how, config] of [
  ['', []],
  [', though it tells why behind what it printed', [printsMuch]],
] as const) {
  sshTest(`a waiting shell that refuses is not asked twice${how}`, async () => {
    const t = await setupExec({ config: [...config] });
    for (let n = 0; n < 2; n += 1) await t.run({ command: 'echo $PPID' });
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

/** What is started with the next shell after the flag was made holds its output, as what a startup file starts may. */
async function setupHolder({ prints = '', ends = '' } = {}) {
  const directory = mkdtempSync(join(tmpdir(), 'opsconductor-test-'));
  chmodSync(directory, 0o777);
  const [flag, pidFile] = [join(directory, 'flag'), join(directory, 'pid')];
  onTestFinished(() => {
    const left = Number(read(pidFile));
    if (left > 0) process.kill(left, 'SIGKILL');
    rmSync(directory, { recursive: true });
  });
  const starts = `if rmdir ${flag} 2>/dev/null; then ${prints} sleep 1000 & echo $! >${pidFile}; ${ends} fi`;
  const config = [`ForceCommand ${starts}; eval "$SSH_ORIGINAL_COMMAND"`, 'LogLevel VERBOSE'];
  const t = await setupExec({ config });
  return { t, flag, holder: () => Number(read(pidFile)) };
}

/** Of the shell that waits for the third step. */
async function setupHeldOutput({ prints = '' } = {}) {
  const { t, flag, holder } = await setupHolder({ prints });
  await t.run({ command: 'echo $PPID' });
  const connectionPid = Number(t.sink.stdout);
  await t.run({ command: `mkdir ${flag}` });
  const waiting = await theOne(() => waitingShells(connectionPid));
  return { t, waiting, holder };
}

sshTest('why a waiting shell refuses is not waited for any more once it is read', async () => {
  const prints = 'head -c 1048576 /dev/zero | tr "\\0" x;';
  const { t, waiting } = await setupHeldOutput({ prints });
  const output = new TestSink();
  let goneAt = 0;
  const running = t.run(
    { command: 'true', working_directory: '/nowhere' },
    {
      output,
      beforeStart: async () => {
        await isGone(waiting);
        await hearWhatCame(t);
        goneAt = performance.now();
      },
    },
  );
  await output.seen(/x/);
  expect(performance.now() - goneAt).toBeLessThan(900);
  t.stop();
  await running;
});

sshTest(
  'a step that its shell refuses ends though what a startup file has started holds its output',
  async () => {
    const { t, holder } = await setupHeldOutput();
    const outcome = await t.run({ command: 'true', working_directory: '/nowhere' });
    expect(outcome).toMatchObject({ status: 'failed', reason: 'working_directory' });
    expect(runs(holder())).toBe(true);
  },
);

sshTest('so does one whose shell was ended before it was given the word', async () => {
  const { t, flag, holder } = await setupHolder();
  await t.run({ command: `mkdir ${flag}; echo $PPID` });
  const connectionPid = Number(t.sink.stdout);
  const outcome = await t.run(
    { command: 'echo began' },
    {
      beforeStart: async () => {
        await endAtTheWord(t, connectionPid);
      },
    },
  );
  expect(outcome).toMatchObject({ status: 'failed', reason: 'channel_refused' });
  expect(t.sink.stdout).not.toContain('began');
  expect(runs(holder())).toBe(true);
});

const brokenShells = [
  [
    'with the word',
    'exit 3;',
    {},
    { reason: 'channel_refused', message: expect.stringContaining('exit code 3') },
  ],
  ['that survives its agent', 'exit 3;', { survive_agent_restart: true }, { reason: 'no_supervisor' }],
  // What was asked for by nobody is done another way, where it is certain that nothing was started.
  ['that may survive', 'exit 3;', { timeout: 900 }, { status: 'succeeded' }],
  // It may have been started by what holds the output: the target is asked, and says that it was not.
  ['that may survive', 'exit 0;', { timeout: 900 }, { reason: 'unreachable' }],
] as const;
for (const [how, ends, config, expected] of brokenShells) {
  accountTest(
    `a command ${how} does not wait for what \`${ends}\` of a startup file has left running`,
    async () => {
      const { t, flag, holder } = await setupHolder({ ends });
      mkdirSync(flag);
      const outcome = await t.run({ command: 'echo began', ...config });
      expect(outcome).toMatchObject({ status: 'failed', ...expected });
      expect(t.sink.stdout.match(/began/g)?.length).toBe(outcome.status === 'succeeded' ? 1 : undefined);
      expect(runs(holder())).toBe(true);
    },
  );
}

sshTest(
  'a shell that was ended before it reported, while the start was recorded, is not waited for',
  async () => {
    const { t, flag, holder } = await setupHolder({ ends: 'exit 3;' });
    await t.run({ command: `mkdir ${flag}` });
    const outcome = await t.run(
      { command: 'echo began' },
      {
        beforeStart: async () => {
          await expect.poll(holder).toBeGreaterThan(0);
          await hearWhatCame(t);
        },
      },
    );
    expect(outcome).toMatchObject({ status: 'failed', reason: 'channel_refused' });
    expect(outcome.message).toContain('exit code 3');
    expect(t.sink.stdout).not.toContain('began');
    expect(runs(holder())).toBe(true);
  },
);

accountTest(
  'what a command prints is read on when the shell that read it is killed and its output held',
  async () => {
    const { t, flag, holder } = await setupHolder();
    mkdirSync(flag);
    const go = `${flag}.go`;
    const running = t.run(
      {
        command: `echo started; until [ -e ${go} ]; do sleep 0.1; done; echo ended`,
        survive_agent_restart: true,
      },
      { marker: 'm.20.1' },
    );
    await t.sink.seen(/started\n/);
    const tailer = join(t.sshd.dir, 'home/.opsconductor/attempts/m.20.1/tailer');
    process.kill(Number(read(tailer)), 'SIGKILL');
    mkdirSync(go);
    expect(await running).toMatchObject({ status: 'succeeded' });
    expect(t.sink.stdout).toBe('started\nended\n');
    expect(runs(holder())).toBe(true);
  },
);

sshTest('a step that is cancelled does not wait for what a shell that has gone may have left', async () => {
  const { t, waiting } = await setupHeldOutput();
  const begun: string[] = [];
  let stoppedAt = 0;
  const outcome = await t.run(
    { command: 'echo began' },
    {
      beforeStart: async () => {
        begun.push('begun');
        process.kill(waiting, 'SIGKILL');
        await isGone(waiting);
        await hearWhatCame(t);
        stoppedAt = performance.now();
        t.stop();
      },
    },
  );
  expect(performance.now() - stoppedAt).toBeLessThan(900);
  expect(outcome).toMatchObject({ status: 'cancelled' });
  expect(begun).toEqual(['begun']);
});

sshTest('a waiting shell that has gone costs neither the command anything nor the next one', async () => {
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
        // The shell that takes its place is left alone.
        if (begun.length > 1) return;
        process.kill(waiting, 'SIGKILL');
        await isGone(waiting);
        await hearWhatCame(t);
      },
    },
  );
  expect(outcome).toMatchObject({ status: 'succeeded', exitCode: 0 });
  expect(t.sink.stdout).toMatch(/^\d+\ndone\n$/);
  // Once more before it was sent to another one.
  expect(begun).toEqual(['begun', 'begun']);
  const next = await theOne(() => waitingShells(connectionPid));
  const output = new TestSink();
  await t.run({ command: 'echo $$' }, { output });
  expect(Number(output.stdout)).toBe(next);
});

sshTest(
  'a waiting shell that has gone leaves no session open, though what it started holds its output',
  async () => {
    const { t, waiting, holder } = await setupHeldOutput();
    const closed = () => t.sshd.log().match(/Close session: /g)?.length ?? 0;
    await expect.poll(closed).toBe(2);
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
    // Its own, that of the command and that of the look at what had come.
    await expect.poll(closed).toBe(5);
  },
);

sshTest('a forced command is run by steps alone, not ahead of them', async () => {
  const t = await setupExec({ config: ['ForceCommand echo forced; exit 3', 'LogLevel VERBOSE'] });
  for (let n = 0; n < 3; n += 1) {
    expect(await t.run({ command: 'true' })).toMatchObject({ status: 'failed', reason: 'channel_refused' });
  }
  await t.warm.close();
  expect(t.sink.stdout.match(/forced/g)).toHaveLength(3);
  expect(t.sshd.log().match(/Starting session: forced-command/g)).toHaveLength(3);
});

sshTest(
  'a server that does not know survive_agent_restart gets plain commands, and a refusal by name',
  async () => {
    const t = await setupExec();
    const asked = { command: 'echo ran', survive_agent_restart: true };
    expect(await t.run(asked, { maySurvive: false })).toMatchObject({
      status: 'failed',
      reason: 'invalid_config',
      message: expect.stringContaining('survive_agent_restart'),
    });
    expect(t.sink.stdout).toBe('');
    const byDefault = { command: 'ls -A "$HOME"', timeout: 900 };
    expect(await t.run(byDefault, { maySurvive: false })).toMatchObject({ status: 'succeeded' });
    expect(t.sink.stdout).not.toContain('.opsconductor');
  },
);

accountTest(
  'a command has a terminal where its step asks for one, and its script arrives in it as it is',
  async () => {
    const t = await setupExec();
    const command = `# ${'x'.repeat(20_000)}\n[ -t 1 ] && echo terminal; echo "it's $A" >&2; cat; exit 3`;
    const config = { command, pty: true, stdin: 'in\n', environment: { A: 'b\tc' } };
    expect(await t.run(config)).toMatchObject({ reason: 'exit_code', exitCode: 3 });
    expect([t.sink.stdout, t.sink.stderr]).toEqual(["terminal\r\nit's b\tc\r\nin\r\n", '']);
    const running = t.run({ command: 'echo ready $$; sleep 1000', pty: true });
    await t.sink.seen(/ready \d+/);
    t.stop('cancelled', 100);
    expect(await running).toMatchObject({ status: 'cancelled' });
  },
);
