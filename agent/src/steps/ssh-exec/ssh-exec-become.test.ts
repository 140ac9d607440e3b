// Becoming another user with the real sudo and su.
import { readFileSync } from 'node:fs';
import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
// biome-ignore lint/style/noRestrictedImports: only tests use the programs that test/ provides
import { ensureSudo } from '../../../../test/support/packages.ts';
// biome-ignore lint/style/noRestrictedImports: as above
import { fixturePassword } from '../../../../test/support/sshd.ts';
import { cleanUpAttempt } from '../../clean-up/clean-up-attempt.ts';
import type { Become } from '../../ssh/become/become.ts';
import { accountTest } from '../../ssh/sshd-setup.ts';
import { temporaryDirectory } from '../../testing/enrolled-directory.ts';
import { setupExec } from './ssh-exec-setup.ts';

const missing = 'missing' in (await ensureSudo());
const sudoTest = missing ? test.skip : accountTest;
const asRoot = (password?: string): { become: Become } => ({
  become: { method: 'sudo', user: 'root', password },
});
const setup = (sudoers = 'opsdeploy ALL=(ALL) ALL', options = {}) =>
  setupExec({ account: { name: 'opsdeploy', sudoers: [sudoers] } }, options);

function isRunning(pid: string | undefined): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

sudoTest('a command runs as root with sudo, which is given the password when it asks', async () => {
  const t = await setup();
  const config = {
    command: 'id -un; echo "$HOME $GREETING"; cat; tr "\\0" " " </proc/$PPID/cmdline; env',
    environment: { GREETING: 'hello' },
    working_directory: `${t.sshd.dir}/root`,
  };
  expect(await t.run(config, asRoot(fixturePassword))).toMatchObject({ status: 'succeeded', exitCode: 0 });
  expect(t.sink.stdout.startsWith(`root\n${t.sshd.dir}/root hello\n`)).toBe(true);
  expect(t.sink.stdout).toMatch(/^OPSCONDUCTOR_ATTEMPT=test-/m);
  expect(t.sink.stdout + t.sink.stderr).not.toContain(fixturePassword);
  expect(t.sink.stderr).toBe('');
});

sudoTest('a password that is not asked for is not sent', async () => {
  const t = await setup('opsdeploy ALL=(ALL) NOPASSWD: ALL');
  expect(await t.run({ command: 'id -un; exit 3' }, asRoot(fixturePassword))).toMatchObject({ exitCode: 3 });
  expect(t.sink.stdout).toBe('root\n');
  expect(t.sink.stderr).toBe('');
});

sudoTest('each obstacle to becoming another user has its own message', async () => {
  const t = await setup('opsdeploy ALL=(opsother) ALL');
  const refusal = async (more: { become: Become }) => {
    const outcome = await t.run({ command: 'echo ran' }, more);
    expect(outcome.status).toBe('failed');
    return `${outcome.reason}: ${outcome.message}`;
  };
  expect(await refusal(asRoot())).toContain('become_password_missing: sudo asks for a password');
  expect(await refusal(asRoot('wrong'))).toContain('become_refused: sudo did not take the password');
  expect(await refusal(asRoot(fixturePassword))).toMatch(/become_refused: .*not allowed to execute/);
  const su = (password?: string): { become: Become } => ({
    become: { method: 'su', user: 'opsother', password },
  });
  expect(await refusal(su())).toContain('become_password_missing: su asks');
  expect(await refusal(su('wrong'))).toMatch(/become_refused: su did not let .*Authentication failure/);
  expect(await refusal({ become: { method: 'su', user: 'nobody-here', password: 'x' } })).toContain(
    'become_refused',
  );
  expect(t.sink.stdout).toBe('');
});

sudoTest.each(['/bin/dash', '/bin/bash'])(
  'a sudoers file that requires a terminal works with pty, also where /bin/sh is %s',
  async (sh) => {
    const sudoers = ['Defaults requiretty\nopsdeploy ALL=(ALL) ALL'];
    const t = await setupExec({ account: { name: 'opsdeploy', sudoers, sh } });
    const config = { command: 'id -un; [ -t 1 ] && echo terminal' };
    expect(await t.run(config, asRoot(fixturePassword))).toMatchObject({ reason: 'become_refused' });
    expect(await t.run({ ...config, pty: true }, asRoot(fixturePassword))).toMatchObject({
      status: 'succeeded',
    });
    const asOther: { become: Become } = {
      become: { method: 'su', user: 'opsother', password: fixturePassword },
    };
    expect(await t.run({ ...config, pty: true }, asOther)).toMatchObject({ status: 'succeeded' });
    expect(t.sink.stdout).toBe('root\r\nterminal\r\nopsother\r\nterminal\r\n');
  },
);

sudoTest('a shell that ends before it is sent the command is reported at once', async () => {
  const t = await setup('Defaults secure_path="/nowhere"\nopsdeploy ALL=(ALL) NOPASSWD: ALL');
  // Longer than that shell lives.
  const beforeStart = async () => void (await t.run({ command: 'true' }));
  for (const survive_agent_restart of [false, true]) {
    const config = { command: 'echo ran', survive_agent_restart };
    const outcome = await t.run(config, { ...asRoot(), beforeStart });
    expect(outcome).toMatchObject({ status: 'failed', reason: 'become_refused' });
    expect(outcome.message).toContain('shell of root');
  }
  expect(t.sink.stdout).toBe('');
});

sudoTest('a shell that ends once it is sent the command is reported in the same way', async () => {
  const { path: bin, remove } = await temporaryDirectory();
  onTestFinished(remove);
  await chmod(bin, 0o755);
  // Stands in for the shell that is to run the command: it reads one byte and exits.
  await writeFile(join(bin, 'env'), '#!/bin/sh\nhead -c 1 > /dev/null\nexit 9\n', { mode: 0o755 });
  const t = await setup(`Defaults secure_path="${bin}:/usr/bin:/bin"\nopsdeploy ALL=(ALL) NOPASSWD: ALL`);
  for (const survive_agent_restart of [false, true]) {
    const outcome = await t.run({ command: 'echo ran', survive_agent_restart }, asRoot());
    expect(outcome).toMatchObject({ status: 'failed', reason: 'become_refused' });
    expect(outcome.message).toContain('The shell of root on 127.0.0.1 ended (exit code 9)');
  }
});

sudoTest('a command runs as another user with su', async () => {
  const t = await setup();
  const become: Become = { method: 'su', user: 'opsother', password: fixturePassword };
  expect(await t.run({ command: 'id -un; echo "[$LC_ALL]"' }, { become })).toMatchObject({
    status: 'succeeded',
  });
  expect(t.sink.stdout).toBe('opsother\n[]\n');
});

sudoTest('a cancel ends processes of root, including those that left the session', async () => {
  const t = await setup();
  const daemon =
    '(setsid nohup sh -c "trap \\"\\" TERM; echo daemon \\$\\$; while :; do sleep 1000; done" &)';
  const running = t.run({ command: `${daemon}; echo ready $$; sleep 1000` }, asRoot(fixturePassword));
  const pids = [(await t.sink.seen(/ready (\d+)/))[1], (await t.sink.seen(/daemon (\d+)/))[1]];
  expect(pids.map(isRunning)).toEqual([true, true]);
  t.stop('cancelled', 200);
  expect(await running).toMatchObject({ status: 'cancelled' });
  expect(pids.map(isRunning)).toEqual([false, false]);
});

sudoTest(
  'a command of root that survives its agent is collected, and what is left after a cut is ended',
  async () => {
    const t = await setup(undefined, { giveUpAfterMs: 500 });
    const marker = `become-${process.pid}.${Date.now()}.1`;
    const more = { marker, directoryName: `${marker}.0123456789abcdef`, ...asRoot(fixturePassword) };
    const config = { command: 'echo ready $$; sleep 1000', survive_agent_restart: true };
    const running = t.run(config, more);
    const [, pid] = await t.sink.seen(/ready (\d+)/);
    await t.warm.close();
    await running;
    expect(isRunning(pid)).toBe(true);
    const reach = {
      pool: t.pool(),
      request: t.request,
      become: more.become,
      scriptTimeoutMs: 10_000,
      giveUpAfterMs: 10_000,
    };
    expect(await cleanUpAttempt(reach, marker, { graceMs: 100, killMs: 2_000 })).toEqual({ found: 'ended' });
    expect(isRunning(pid)).toBe(false);
  },
);
