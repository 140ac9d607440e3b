// Limits of a step, on a real sshd.
import { existsSync } from 'node:fs';
import { expect, test } from 'vitest';
import { accountTest, sshTest } from '../../ssh/sshd-setup.ts';
import type { StepContext } from '../step-type.ts';
import { runInShell } from './attempt-shell-setup.ts';
import type { RunningCommand } from './command-on-channel.ts';
import { outcomeOf } from './ssh-exec-outcomes.ts';
import { setupExec } from './ssh-exec-setup.ts';

const busy = 'echo begun; while :; do :; done';

for (const survive_agent_restart of [false, true]) {
  accountTest(
    `a command that uses up its processor time ends as cpu_limit, surviving: ${survive_agent_restart}`,
    async () => {
      const t = await setupExec();
      const config = { command: `(${busy}); exit $?`, limits: { cpu_seconds: 1 }, survive_agent_restart };
      expect(await t.run(config)).toMatchObject({ status: 'failed', reason: 'cpu_limit', exitCode: 152 });
      expect(t.sink.stdout).toBe('begun\n');
    },
  );
}

sshTest(
  'a limit hit by the command’s own shell is reported too, and an expected exit code takes precedence',
  async () => {
    const t = await setupExec();
    const limits = { cpu_seconds: 1 };
    expect(await t.run({ command: busy, limits })).toMatchObject({ reason: 'cpu_limit' });
    expect(await t.run({ command: busy, limits, expected_exit_codes: [152] })).toMatchObject({
      status: 'succeeded',
    });
    expect(await t.run({ command: 'exit 152' })).toMatchObject({ reason: 'exit_code' });
  },
);

sshTest('memory limit and niceness apply to every process of the command', async () => {
  const t = await setupExec();
  const outcome = await t.run({
    command: 'ulimit -v; sh -c "ulimit -v"; nice; exit 4',
    limits: { memory_mb: 512, nice: 7, cpu_seconds: 60 },
    expected_exit_codes: [4],
  });
  expect(outcome).toMatchObject({ status: 'succeeded', exitCode: 4 });
  expect(t.sink.stdout).toBe('524288\n524288\n7\n');
});

test('a limit above what the target allows refuses the command before it starts', async () => {
  // As if the login shell's startup files had lowered it.
  const args = ['-c', 'ulimit -v 100000; exec sh'];
  const input = { command: 'echo ran', limits: { memory_mb: 512 } };
  const { stdout, status, report } = await runInShell('/bin/sh', input, { args });
  expect([stdout.toString(), status]).toEqual(['', 1]);
  expect(report).toEqual({ kind: 'no_limit', which: 'memory_mb' });
});

test('a refused limit is named with its value', () => {
  const refused = outcomeOf(
    { report: { kind: 'no_limit', which: 'memory_mb' } } as RunningCommand,
    { exitCode: 1, connectionLost: false },
    { command: 'echo ran', limits: { memory_mb: 512 } },
    { target: { host: 'web-1' } } as StepContext,
  );
  expect(refused).toMatchObject({ status: 'failed', reason: 'limit_refused' });
  expect(refused.message).toContain("web-1 can't limit it to limits.memory_mb = 512");
});

for (const shell of ['/bin/dash', '/bin/bash', '/bin/busybox', '/usr/bin/ksh', '/usr/bin/mksh'].filter(
  existsSync,
)) {
  test(`${shell} sets the limits, and reports how a limited command ended`, async () => {
    const input = { command: 'ulimit -t; nice; exit 9', limits: { cpu_seconds: 30, nice: 3 } };
    const { stdout, status } = await runInShell(shell, input);
    expect([stdout.toString(), status]).toEqual(['30\n3\n', 9]);
  });
}

sshTest('a command that is stopped because of its output fails with output_limit', async () => {
  const t = await setupExec();
  const running = t.run({ command: 'echo ready; exec cat /dev/zero' });
  await t.sink.seen(/ready/);
  t.stop('output_limit');
  expect(await running).toMatchObject({ status: 'failed', reason: 'output_limit', signal: 'TERM' });
});
