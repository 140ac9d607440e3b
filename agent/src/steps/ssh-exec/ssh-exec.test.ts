// What a command is given, what it prints, how it ends, and why it may not start at all.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { accountTest, sshTest } from '../../ssh/sshd-setup.ts';
import { setupExec, TestSink } from './ssh-exec-setup.ts';
import { read } from './target-shells-setup.ts';

sshTest('a command succeeds, with separate outputs and an empty stdin', async () => {
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

sshTest('only an expected exit code is success', async () => {
  const t = await setupExec();
  expect((await t.run({ command: 'exit 3', expected_exit_codes: [0, 3] })).status).toBe('succeeded');
  expect((await t.run({ command: 'exit 0', expected_exit_codes: [3] })).status).toBe('failed');
});

sshTest('a command ended by a signal names the signal', async () => {
  const t = await setupExec();
  const outcome = await t.run({ command: 'kill -KILL $$' });
  expect(outcome).toMatchObject({ status: 'failed', reason: 'signal', signal: 'KILL' });
  expect(outcome.exitCode).toBeUndefined();
});

sshTest('environment values and directories of any text arrive unchanged', async () => {
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

sshTest('the environment can not remove the marker', async () => {
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

accountTest('a working directory that may not be entered is reported', async () => {
  const t = await setupExec();
  const outcome = await t.run({ command: 'echo started', working_directory: '/root' });
  expect(outcome.message).toContain('may not be entered');
});

sshTest('no argument of any process shows the command, its environment or its marker', async () => {
  const t = await setupExec();
  const running = t.run(
    {
      command: ': top-secret-command; echo ready $$ $PPID; read -r _ <"$FIFO"',
      environment: { SECRET: 'top-secret-value', FIFO: '/dev/zero' },
    },
    { marker: 'no-argument.1' },
  );
  await t.sink.seen(/ready (\d+) (\d+)/);
  const lines = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .map((name) => (existsSync(`/proc/${name}/cmdline`) ? read(`/proc/${name}/cmdline`) : ''));
  expect(lines.some((line) => line.includes('/bin/sh'))).toBe(true);
  for (const line of lines) expect(line).not.toMatch(/top-secret|no-argument/);
  t.stop('cancelled', 0);
  await running;
});

sshTest('a command of 300 KB runs: it is not an argument, so no argument limit applies', async () => {
  const t = await setupExec();
  const text = "it's ".repeat(60_000);
  const outcome = await t.run({ command: `cat <<'END'\n${text}\nEND\n` });
  expect(outcome.status).toBe('succeeded');
  expect(t.sink.stdout).toBe(`${text}\n`);
});

sshTest('3 MB of mixed stdout and stderr arrive complete under back-pressure', async () => {
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

sshTest('output is given back once the sink has taken it', async () => {
  const t = await setupExec();
  const large: Buffer[] = [];
  t.sink.write = (_stream, bytes) => {
    // Smaller packets are not worth it.
    if (bytes.length >= 8 * 1024) large.push(bytes);
    return true;
  };
  expect((await t.run({ command: 'head -c 3000000 /dev/zero' })).status).toBe('succeeded');
  expect(large.length).toBeGreaterThan(10);
  expect(large.filter(({ length }) => length > 0)).toEqual([]);
});

sshTest('a full sink stops reading from the target', async () => {
  const t = await setupExec();
  t.sink.blocked = true;
  const running = t.run({ command: 'head -c 50000000 /dev/zero' });
  await t.sink.seen(/\0/);
  const taken = t.sink.parts.length;
  // Meanwhile another channel of the same connection is still read.
  const other = new TestSink();
  await t.run({ command: 'head -c 50000000 /dev/zero' }, { output: other });
  expect(other.bytes('stdout').length).toBe(50_000_000);
  expect(t.sink.parts.length).toBeLessThan(taken + 10);
  t.sink.unblock();
  await running;
  expect(t.sink.bytes('stdout').length).toBe(50_000_000);
});

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

sshTest('a target that can not be opened fails the step with the reason of the connection', async () => {
  const t = await setupExec();
  const unknown = await t.run({ command: 'true' }, { target: { ...t.target, hostKeys: [] } });
  expect(unknown).toMatchObject({ status: 'failed', reason: 'host_key_unknown' });
  expect(unknown.advice).toContain('ssh-ed25519');
  await t.sshd.stop();
  const down = await t.run({ command: 'true' }, { target: { ...t.target, id: 2 } });
  expect(down).toMatchObject({ status: 'failed', reason: 'connection_refused' });
});

accountTest('with a login shell that lets nobody in, the step says that nothing was started', async () => {
  const t = await setupExec({ account: { name: 'opsdeploy', shell: '/usr/sbin/nologin' } });
  const outcome = await t.run({ command: 'echo started' });
  expect(outcome).toMatchObject({ status: 'failed', reason: 'channel_refused' });
  expect(t.sink.stdout).not.toContain('started');
  // Nothing of what it printed is in the output of a command that survives its agent.
  const kept = await t.run({ command: 'echo started', survive_agent_restart: true });
  expect(kept).toMatchObject({ reason: 'no_supervisor', advice: expect.stringMatching(/^Test the target/) });
});

accountTest(
  'after a login shell let nobody in, the next step logs in anew: it may have been mended',
  async () => {
    const t = await setupExec({ account: { name: 'opsdeploy', shell: '/usr/sbin/nologin' } });
    const outcome = await t.run({ command: 'true' });
    expect(outcome.advice).toContain('chage -l');
    expect(t.sink.stdout + t.sink.stderr).toContain('not available');
    const next = await t.run({ command: 'true' });
    expect([outcome.ssh?.reused, next.ssh?.reused]).toEqual([false, false]);
  },
);

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

sshTest(
  'with a server that does not know survive_agent_restart, commands run plainly, and the option is refused by name',
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

/** What /bin/sh is on some systems. bash reads a line ahead from a terminal, even if it is in raw mode. */
const shs = ['/bin/dash', '/bin/bash', '/bin/busybox', '/bin/mksh', '/bin/zsh'].filter(existsSync);
accountTest.each(shs)(
  'where /bin/sh is %s, a command has a terminal if its step asks for one, and its script arrives there unchanged',
  async (sh) => {
    const t = await setupExec({ account: { name: 'opsdeploy', sh } });
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
