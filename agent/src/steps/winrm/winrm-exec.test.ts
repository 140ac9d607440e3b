import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Binding, powershellBootstrap, type WinrmExecConfig } from '@opsconductor/protocol';
import { expect, onTestFinished } from 'vitest';
import { SshError } from '../../ssh/ssh-error.ts';
import { WinrmPool } from '../../winrm/connection/pool.ts';
import { fileServer } from '../../winrm/files/file-server.ts';
import { limitsProgram } from '../../winrm/powershell/limits-program.ts';
import { batchRemover, cmdRunner, powershellLine } from '../../winrm/powershell/powershell.ts';
import { isSoundPowershell } from '../../winrm/testing/powershell-tree.ts';
import { hostOfFile, winrmTest, winrmUser } from '../../winrm/testing/winrm-setup.ts';
import { TestSink } from '../ssh-exec/ssh-exec-setup.ts';
import type { StepContext, StopRequest } from '../step-type.ts';
import { winrmExec } from './winrm-exec.ts';
import { winrmContext } from './winrm-step-setup.ts';

const host = hostOfFile({
  emulated: { bootstrap: powershellBootstrap, cmdRunner, batchRemover, limitsProgram },
  settings: { maxPollSeconds: 1 },
});

function setup(more: Partial<StepContext> = {}) {
  const sink = new TestSink();
  const controller = new AbortController();
  onTestFinished(() => controller.abort({ cause: 'cancelled', killGraceMs: 0 } satisfies StopRequest));
  const context = winrmContext(host.fixture, { output: sink, signal: controller.signal, ...more });
  const pool = new WinrmPool();
  onTestFinished(() => pool.close());
  const step = winrmExec({ pool, limits: { retryMs: 10, reconnectMs: 30_000 } });
  return {
    sink,
    pool,
    context,
    /** Runs the step to its end, and waits until its shell is removed. */
    async run(config: WinrmExecConfig) {
      const outcome = await step.execute(config, context);
      await pool.settled();
      return outcome;
    },
    stop: (cause: StopRequest['cause'] = 'cancelled', killGraceMs = 5_000) =>
      controller.abort({ cause, killGraceMs } satisfies StopRequest),
  };
}

/** The stand-in for PowerShell runs the rest with /bin/sh. */
const sh = (script: string) => `# sh\n${script}`;

const bindings: Binding[] = [
  { name: 'OPS_1', type: 'string', value: 'a "b" $(c) ä𝄞\n%d% !e!', secret: false },
  { name: 'OPS_2', type: 'integer', value: 42, secret: false },
];

winrmTest('a PowerShell script is read whole from standard input, with its values as data', async () => {
  const t = setup({ bindings });
  const long = `${'# long ä€𝄞 "quotes" \'\n'.repeat(1_000)}printf "%s|%s|%s" "$OPS_1" "$OPS_2" "$OPSCONDUCTOR_ATTEMPT"; exit 0`;
  expect(await t.run({ command: sh(long) })).toMatchObject({ status: 'succeeded', exitCode: 0 });
  expect(t.sink.stdout).toBe('a "b" $(c) ä𝄞\n%d% !e!|42|installation.1.1');
  expect((await host.fixture.stats()).shells).toBe(0);
});

winrmTest(
  'a running command does not fail because the name of its host is not found for a while',
  async () => {
    let unknown = 2;
    const t = setup({
      checkAddresses: () => {
        if (!t.sink.stdout.includes('1') || unknown === 0) return;
        unknown -= 1;
        throw new SshError({ reason: 'name_not_found', message: 'No such name.', advice: 'Look.' });
      },
    });
    await host.fixture.mishap({ action: 'Receive', what: 'drop', skip: 2 });
    const command = sh('for n in 1 2 3 4; do echo $n; sleep 0.2; done; exit 4');
    expect(await t.run({ command })).toMatchObject({ status: 'failed', exitCode: 4 });
    expect(unknown).toBe(0);
  },
);

winrmTest('the runner runs a batch file, with its values in the environment', async () => {
  const t = setup({ bindings: [{ name: 'OPS_1', type: 'string', value: 'text of it', secret: false }] });
  const config = {
    shell: 'cmd',
    command: 'echo "$OPS_1 $A"\r\npwd\r\nexit 9',
    environment: { A: 'of the step' },
    working_directory: '/usr',
  } as const;
  expect(await t.run(config)).toMatchObject({ status: 'failed', reason: 'exit_code', exitCode: 9 });
  expect(t.sink.stdout).toBe('text of it of the step\n/usr\n');
});

winrmTest('a command reads its input line by line, without an extra line at the end', async () => {
  const t = setup({ bindings });
  const stdin = 'first "line" ä𝄞\nsecond; echo $OPS_2\n';
  expect(await t.run({ command: sh('cat; echo "[$OPS_2]"'), stdin })).toMatchObject({
    status: 'succeeded',
  });
  expect(t.sink.stdout).toBe(`${stdin}[42]\n`);
  const cmd = setup();
  expect(await cmd.run({ shell: 'cmd', command: 'cat', stdin })).toMatchObject({ status: 'succeeded' });
  expect(cmd.sink.stdout).toBe(stdin);
  const none = setup();
  expect(await none.run({ command: sh('cat') })).toMatchObject({ status: 'succeeded' });
  expect(none.sink.stdout).toBe('');
});

winrmTest('limits are in force before the script begins, in every kind of shell', async () => {
  const limits = { memory_mb: 200, priority: 'idle' } as const;
  for (const shell of ['powershell', 'cmd'] as const) {
    const t = setup();
    const command = 'ulimit -v; nice';
    const script = shell === 'cmd' ? command : sh(command);
    expect(await t.run({ command: script, shell, limits })).toMatchObject({ status: 'succeeded' });
    expect(t.sink.stdout).toBe(`${200 * 1024}\n19\n`);
  }
});

winrmTest('a script that the stand-in does not know fails with what PowerShell would print', async () => {
  const t = setup();
  expect(await t.run({ command: 'Get-Date' })).toMatchObject({ status: 'failed', exitCode: 1 });
  expect(t.sink.stderr).toBe('The fixture is no PowerShell: the script is not known\n');
});

winrmTest('expected exit codes are success, with or without a sign', async () => {
  const t = setup();
  const command = sh('echo 3221225477 > $FIXTURE_EXIT');
  for (const code of [-1_073_741_819, 3_221_225_477]) {
    const outcome = await t.run({ command, expected_exit_codes: [code] });
    expect(outcome).toMatchObject({ status: 'succeeded', exitCode: -1_073_741_819 });
  }
  expect((await t.run({ command })).message).toContain('0xC0000005');
});

winrmTest.for(['cancelled', 'timed_out', 'output_limit'] as const)(
  'a step that is %s ends with that status',
  async (cause) => {
    const t = setup();
    const running = t.run({ command: sh('echo ready; sleep 1000') });
    await t.sink.seen(/ready/);
    t.stop(cause);
    const outcome = await running;
    expect(outcome).toMatchObject({ status: cause === 'output_limit' ? 'failed' : cause, reason: cause });
    expect((await host.fixture.stats()).shells).toBe(0);
  },
);

winrmTest(
  'a stopped step says that processes others started for it may still be running, as they are',
  async () => {
    const t = setup();
    const file = join(host.fixture.dir, 'others-pid');
    // Out of the shell's reach, like a process that a Windows service starts.
    const other = `setsid sh -c 'echo $$ >${file}; exec sleep 1000' </dev/null >/dev/null 2>&1 &`;
    const running = t.run({
      command: sh(`${other} while [ ! -s ${file} ]; do sleep 0.02; done; echo ready; sleep 1000`),
    });
    await t.sink.seen(/ready/);
    t.stop();
    const { message } = await running;
    const pid = Number(readFileSync(file, 'utf8'));
    expect(() => process.kill(pid, 0)).not.toThrow();
    process.kill(pid);
    expect(message).toMatch(
      /ended, with its shell\. What it had others start \(services, .*\) may still be running\./,
    );
  },
);

winrmTest('a stopped batch file leaves neither itself nor its input on the host', async () => {
  const t = setup();
  const stdin = 'word-8c1e of it\n';
  const command = 'trap "" INT; echo ready; while :; do sleep 0.02; done';
  const running = t.run({ shell: 'cmd', command, stdin });
  await t.sink.seen(/ready/);
  expect(host.fixture.filesWith(stdin)).toHaveLength(1);
  t.stop('cancelled', 100);
  expect(await running).toMatchObject({ status: 'cancelled' });
  expect(host.fixture.filesWith(stdin)).toEqual([]);
});

winrmTest('a stop works while the output is held back', async () => {
  const t = setup();
  t.sink.blocked = true;
  const running = t.run({ command: sh('echo ready; exec cat /dev/zero') });
  await t.sink.seen(/ready/);
  t.stop('cancelled', 100);
  expect(await running).toMatchObject({ status: 'cancelled' });
});

winrmTest('a stop that is not confirmed leaves the step unknown', async () => {
  const t = setup();
  const running = t.run({ command: sh('echo ready; sleep 1000') });
  await t.sink.seen(/ready/);
  await host.fixture.mishap({ action: 'Signal', what: '503', times: 9 });
  await host.fixture.mishap({ action: 'Delete', what: '503', times: 9 });
  t.stop();
  expect(await running).toMatchObject({ status: 'unknown', reason: 'cancel_unconfirmed' });
  await host.fixture.loseShells();
});

winrmTest(
  'a command that ends on Ctrl+C leaves the step unknown if the host does not confirm that its shell is gone',
  async () => {
    const t = setup();
    const running = t.run({ command: sh('trap "exit 5" INT; echo ready; while :; do sleep 0.02; done') });
    await t.sink.seen(/ready/);
    await host.fixture.mishap({ action: 'Delete', what: '503', times: 9 });
    t.stop();
    // What it started may still be there.
    expect(await running).toMatchObject({ status: 'unknown', reason: 'cancel_unconfirmed', exitCode: 5 });
    await host.fixture.loseShells();
  },
);

winrmTest('a command whose start was not answered is unknown, and is not started again', async () => {
  const t = setup();
  await host.fixture.mishap({ action: 'Command', moment: 'after', what: 'drop' });
  expect(await t.run({ command: sh('true') })).toMatchObject({
    status: 'unknown',
    reason: 'connection_lost',
  });
  expect((await host.fixture.stats()).requests.filter((action) => action === 'Command')).toHaveLength(1);
});

winrmTest('an error that keeps a command from starting fails the step with its reason', async () => {
  const run = (more: Partial<StepContext>) => setup(more).run({ command: sh('true') });
  const { target, credential } = setup().context;
  const password = {
    kind: 'winrm_password',
    id: '7',
    version: 1,
    user: winrmUser,
    password: 'wrong',
  } as const;
  expect(await run({ credential: password })).toMatchObject({ status: 'failed', reason: 'auth_failed' });
  expect(await run({ target: { ...target, port: 1 } })).toMatchObject({ reason: 'connection_refused' });
  expect(await run({ target: { ...target, host: 'no.such.invalid' } })).toMatchObject({
    reason: 'name_not_found',
  });
  const https = { transport: 'https', authentication: 'ntlm', certificateCheck: 'verify' } as const;
  const secure = { ...target, port: host.fixture.port('https') };
  expect(await run({ target: { ...secure, winrm: https } })).toMatchObject({ reason: 'certificate_refused' });
  const unverified = { ...secure, winrm: { ...https, certificateCheck: 'skip' } as const };
  const refused = await run({ target: unverified });
  expect(refused).toMatchObject({ status: 'failed', reason: 'policy_refused' });
  expect(refused.advice).toContain('--allow-unverified-winrm');
  const { pool, context } = setup({ target: unverified });
  expect(
    await winrmExec({ pool, allowUnverified: () => true }).execute({ command: sh('true') }, context),
  ).toMatchObject({ status: 'succeeded' });
  const { certificate } = host.fixture.certificate('sha256');
  expect(await run({ target: { ...secure, winrm: { ...https, ca: certificate } } })).toMatchObject({
    status: 'succeeded',
  });
  const basic = { ...target, winrm: { ...https, transport: 'http', authentication: 'basic' } as const };
  expect(await run({ target: basic })).toMatchObject({ status: 'failed', reason: 'auth_failed' });
  const ssh = { kind: 'ssh_password', id: '7', version: 1, user: 'x', password: 'y' } as const;
  expect(await run({ credential: ssh })).toMatchObject({ reason: 'credential_unusable' });
  expect(credential.kind).toBe('winrm_password');
  const refuse = () => {
    throw new SshError({ reason: 'credential_bounds', message: 'Not there.', advice: 'Elsewhere.' });
  };
  expect(await run({ checkAddresses: refuse })).toMatchObject({
    status: 'failed',
    reason: 'credential_bounds',
  });
  await host.fixture.reset({ maxShells: 0 });
  expect(await run({})).toMatchObject({ status: 'failed', reason: 'channel_refused' });
  await host.fixture.reset({ maxShells: 30 });
});

winrmTest('a missing working directory fails the step before it starts', async () => {
  const outcome = await setup().run({ command: sh('true'), working_directory: '/nowhere/at/all' });
  expect(outcome).toMatchObject({ status: 'failed', reason: 'working_directory' });
});

winrmTest('the shipped programs are valid PowerShell, and fit a command line of cmd.exe', async () => {
  for (const program of [powershellBootstrap, cmdRunner, batchRemover, limitsProgram, fileServer]) {
    expect(await isSoundPowershell(program)).toBe(true);
    // Not in Windows PowerShell 5.1: the operators ?? ?. ?: && ||, and the parameters -Parallel and -AsUTC.
    expect(program).not.toMatch(/\?\?|\?\.|&&|\|\||\s\?\s|-Parallel/);
  }
  const { command, arguments: words } = powershellLine('powershell');
  expect([command, ...words].join(' ').length).toBeLessThan(8_000);
});

winrmTest(
  'after a host refused a login its rights, the next step logs in anew: they may have been mended',
  async () => {
    const t = setup();
    const script = { command: 'exit 0', shell: 'cmd' } as const;
    expect(await t.run(script)).toMatchObject({ status: 'succeeded' });
    expect(t.pool.idle).toBeGreaterThan(0);
    await host.fixture.mishap({ action: 'Create', what: 'fault:denied', times: 2 });
    expect(await t.run(script)).toMatchObject({ reason: 'not_authorized' });
    expect(t.pool.idle).toBe(0);
    expect(await t.run(script)).toMatchObject({ status: 'succeeded' });
  },
);
