// reboot and wait_for on a real sshd whose boot id the fixture changes.
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { dialError } from '../../ssh/connect-errors.ts';
import { jumpHostFailed } from '../../ssh/jump-hosts.ts';
import type { SshPool } from '../../ssh/pool/pool.ts';
import { SshError } from '../../ssh/ssh-error.ts';
import { accountTest, printsTitle, setupSshd, sshTest } from '../../ssh/sshd-setup.ts';
import { ed25519KeyPair } from '../../testing/ssh-keys.ts';
import { TestSink } from '../ssh-exec/ssh-exec-setup.ts';
import type { BeforeStart, StepContext, StepType, StopRequest } from '../step-type.ts';
import { reboot } from './reboot.ts';
import { waitFor } from './wait-for.ts';

async function setup<Config>(
  type: (pool: SshPool) => StepType<Config>,
  options: Parameters<typeof setupSshd>[0] = {},
) {
  const t = await setupSshd(options);
  const sink = new TestSink();
  const begun: (BeforeStart | undefined)[] = [];
  const controller = new AbortController();
  const context: StepContext = {
    marker: `waiting-${process.pid}.${Date.now()}.1`,
    directoryName: 'waiting',
    target: t.target,
    credential: t.credential,
    output: sink,
    transfers: { progress: () => {}, report: () => {} },
    maySurvive: true,
    askServer: () => Promise.reject(new Error('There is no server')),
    signal: controller.signal,
    beforeStart: async (how) => void begun.push(how),
    checkAddresses: () => {},
  };
  const stop = (cause: StopRequest['cause']) => controller.abort({ cause, killGraceMs: 0 });
  return { ...t, sink, begun, context, stop, step: type(t.pool()) };
}

/** How long a step waited is told, however it ended. */
const took = { executionTimeMs: expect.any(Number) };
const booted = { account: { name: 'opsdeploy', bootId: 'first' } };
const quick = (pool: SshPool) => reboot(pool, { pollMs: 20, lookMs: 5_000 });

accountTest('a restarting host is waited for until it is back with another boot id', async () => {
  const t = await setup(quick, booted);
  const running = t.step.execute({ command: 'echo going down' }, t.context);
  await t.sink.seen(/asked to restart/);
  await t.sshd.stop();
  await t.sink.seen(/The host is away: /);
  t.sshd.boots('second', 1);
  await t.sshd.restart();
  expect(await running).toMatchObject({ status: 'succeeded', ssh: { reused: true } });
  expect(t.sink.stdout).toMatch(
    /as boot first\.\ngoing down\n.*\n.*away.*\nThe host is back after \d+ s, as boot second/,
  );
  expect(t.begun).toEqual([{ survivesWith: { command: 'echo going down', bootIdBefore: 'first' } }]);
});

accountTest('a restart that was refused or never came is distinguished from a slow one', async () => {
  const t = await setup(quick, booted);
  expect(await t.step.execute({ command: 'exit 1' }, t.context)).toMatchObject({
    reason: 'exit_code',
    exitCode: 1,
  });
  const controller = new AbortController();
  const cancelled = { cause: 'cancelled', killGraceMs: 0 } satisfies StopRequest;
  const beforeStart = async () => controller.abort(cancelled);
  const never = { ...t.context, signal: controller.signal, beforeStart };
  expect(await t.step.execute({ command: 'true' }, never)).toMatchObject({ status: 'cancelled' });
  const running = t.step.execute({ command: 'true' }, t.context);
  await t.sink.seen(/asked to restart/);
  t.stop('timed_out');
  expect(await running).toMatchObject({
    status: 'timed_out',
    reason: 'not_rebooted',
    ...took,
  });
});

accountTest.each(['cancelled', 'timed_out'] as const)(
  'a restart that is %s before the login shell reaches its command was not asked for',
  async (cause) => {
    const dir = mkdtempSync(join(tmpdir(), 'opsconductor-test-'));
    onTestFinished(() => rmSync(dir, { recursive: true }));
    chmodSync(dir, 0o777);
    const [shell, used] = [join(dir, 'shell'), join(dir, 'used')];
    // The first one is for reading the host's boot id.
    const hangs = `if [ -e ${used} ]; then echo waiting; exec cat >/dev/null; fi`;
    writeFileSync(shell, `#!/bin/sh\n${hangs}\n: >${used}\nexec /bin/sh "$@"\n`, { mode: 0o755 });
    const t = await setup(quick, { account: { ...booted.account, shell } });
    const running = t.step.execute({ command: 'echo going down' }, t.context);
    await t.sink.seen(/waiting/);
    expect(t.begun).toHaveLength(1);
    t.stop(cause);
    expect(await running).toMatchObject({
      status: cause,
      message: 'The step was stopped before its command started.',
    });
    expect(t.sink.stdout).not.toContain('asked to restart');
  },
);

/** Lines of the server's log about logins that it refused, and about connections, with or without a login. */
const lines = (log: string, about: RegExp) => log.split('\n').filter((line) => about.test(line)).length;
const refusedLogins = /Connection (closed|reset) by authenticating user/;
const connections = /Connection from/;
/** A key that the host does not know. */
const unknownKeyOf = (user: string): StepContext['credential'] => ({
  kind: 'ssh_private_key',
  user,
  id: 'other',
  version: 1,
  privateKey: ed25519KeyPair().private,
});
const refusing = (pool: SshPool) => reboot(pool, { pollMs: 20, lookMs: 1_000, refusedPausesMs: [3_600_000] });

accountTest(
  'a host that refuses the login is not sent one again by each look, which would lock the account',
  async () => {
    const t = await setup(refusing, booted);
    const context = { ...t.context };
    const running = t.step.execute({ command: 'echo going down' }, context);
    await t.sink.seen(/asked to restart/);
    await t.sshd.stop();
    context.credential = unknownKeyOf(t.sshd.user);
    await t.sshd.restart();
    await t.sink.seen(/The host refuses the login: .*\nThe login is tried again in 3600 s/);
    await vi.waitUntil(() => lines(t.sshd.log(), connections) >= 5, { timeout: 20_000 });
    expect(lines(t.sshd.log(), refusedLogins)).toBe(1);
    t.stop('timed_out');
    expect(await running).toMatchObject({
      status: 'timed_out',
      message: expect.stringMatching(
        /asked to restart, and answers, but the login is refused: .* refused opsdeploy/,
      ),
    });
  },
);

accountTest(
  'a login that was refused while the host went down is tried again as soon as it is back',
  async () => {
    const t = await setup(refusing, booted);
    const context = { ...t.context };
    const running = t.step.execute({ command: 'echo going down' }, context);
    await t.sink.seen(/asked to restart/);
    context.credential = unknownKeyOf(t.sshd.user);
    await t.sink.seen(/The host refuses the login/);
    context.credential = t.context.credential;
    await t.sshd.stop();
    await t.sink.seen(/The host is away/);
    t.sshd.boots('second', 1);
    await t.sshd.restart();
    expect(await running).toMatchObject({ status: 'succeeded' });
  },
);

accountTest('a host whose logins take long is asked to restart, and found to be back', async () => {
  const step = (pool: SshPool) => reboot(pool, { pollMs: 20, lookMs: 100, patientLookMs: 20_000 });
  const t = await setup(step, {
    ...booted,
    config: ['ForceCommand sleep 0.3; eval "$SSH_ORIGINAL_COMMAND"'],
  });
  const running = t.step.execute({ command: 'echo going down' }, t.context);
  await t.sink.seen(/The host is away: /);
  t.sshd.boots('second', 1);
  expect(await running).toMatchObject({ status: 'succeeded' });
});

accountTest('a look at a host that does not answer ends as soon as the step is cancelled', async () => {
  const step = (pool: SshPool) => reboot(pool, { pollMs: 20, lookMs: 3_600_000 });
  const t = await setup(step, booted);
  const running = t.step.execute({ command: 'echo going down' }, t.context);
  await t.sink.seen(/asked to restart/);
  t.sshd.suspend();
  t.stop('cancelled');
  expect(await running).toMatchObject({ status: 'unknown', reason: 'cancel_unconfirmed' });
});

accountTest(
  'a jump host that refuses the login is not sent one again by each look at the host behind it',
  async () => {
    const [t, hop] = await Promise.all([setup(refusing, booted), setupSshd()]);
    const jump = { target: { ...hop.target, id: 2, name: 'bastion' }, credential: hop.credential };
    const checkAddresses = () => {};
    const context = { ...t.context, target: { ...t.target, jumps: [{ ...jump, checkAddresses }] } };
    const running = t.step.execute({ command: 'echo going down' }, context);
    await t.sink.seen(/asked to restart/);
    await t.sshd.stop();
    const credential = unknownKeyOf(hop.sshd.user);
    context.target = { ...context.target, jumps: [{ ...jump, credential, checkAddresses }] };
    await t.sink.seen(/refuses the login: Jump host “bastion” .*\nThe login is tried again in 3600 s/);
    t.stop('timed_out');
    expect(await running).toMatchObject({
      status: 'timed_out',
      message: expect.stringMatching(/is not back yet: Jump host “bastion” .* refused /),
    });
    await expect.poll(() => lines(hop.sshd.log(), refusedLogins)).toBe(1);
  },
);

test('a port behind a jump host that refuses the login costs two logins within 15 minutes', async () => {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  const target = { name: 'web-1', host: '10.0.0.1', port: 22 };
  const refused = new SshError({
    reason: 'auth_failed',
    message: 'It refused ops.',
    advice: 'Check the user.',
  });
  const probe = vi.fn(() => Promise.reject(jumpHostFailed({ name: 'bastion' }, target, refused)));
  const controller = new AbortController();
  const context = {
    target,
    signal: controller.signal,
    output: { write: () => true },
    beforeStart: async () => {},
  };
  const running = waitFor({ probe } as never).execute({ port: 80 }, context as unknown as StepContext);
  await vi.advanceTimersByTimeAsync(15 * 60_000);
  expect(probe).toHaveBeenCalledTimes(2);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(probe).toHaveBeenCalledTimes(3);
  controller.abort({ cause: 'timed_out', killGraceMs: 0 } satisfies StopRequest);
  expect(await running).toMatchObject({
    status: 'timed_out',
    message: expect.stringContaining('Port 80 of 10.0.0.1 was not open. Jump host “bastion”'),
  });
});

accountTest('another agent tells from a host’s uptime whether it has restarted', async () => {
  const t = await setup(quick, booted);
  const later = { ...t.context, begunAtMs: performance.now() - 600_000 };
  t.sshd.boots('second', 60);
  expect(await t.step.reattach?.({}, later)).toMatchObject({ status: 'succeeded' });
  t.sshd.boots('second', 100_000);
  const running = t.step.reattach?.({}, later);
  t.stop('cancelled');
  expect(await running).toMatchObject({ status: 'unknown', reason: 'cancel_unconfirmed' });
});

accountTest.each(['cancelled', 'timed_out'] as const)(
  'a restart whose agent ended before its command had is not said to have been asked for (%s)',
  async (cause) => {
    const t = await setup(quick, booted);
    const begunAtMs = performance.now();
    const config: object = { bootIdBefore: 'first' };
    const running = t.step.reattach?.(config, { ...t.context, begunAtMs });
    await vi.waitUntil(() => lines(t.sshd.log(), connections) > 0);
    t.stop(cause);
    const { message } = (await running) ?? {};
    expect(message).toMatch(/may have been asked to .*not known/);
    expect(message).not.toContain('was asked to');
  },
);

sshTest('a port is waited for until it is open, and until it is closed', async () => {
  const t = await setup(waitFor);
  const server = createServer((socket) => socket.destroy());
  onTestFinished(() => void server.close());
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  const { port } = server.address() as { port: number };
  const jumps = [
    { target: { ...t.target, name: 'bastion' }, credential: t.credential, checkAddresses: () => {} },
  ];
  const behind = { ...t.context, target: { ...t.target, jumps } };
  for (const context of [t.context, behind]) {
    expect(await t.step.execute({ port }, context)).toMatchObject({ status: 'succeeded', ...took });
  }
  await new Promise((closed) => server.close(closed));
  for (const context of [t.context, behind]) {
    const closed = await t.step.execute({ port, state: 'closed' }, context);
    expect(closed).toMatchObject({ status: 'succeeded', ...took });
  }
  const checkAddresses = () => {
    throw new SshError({ reason: 'policy_refused', message: 'It may not.', advice: 'Ask.' });
  };
  expect(await t.step.execute({ port }, { ...t.context, checkAddresses })).toMatchObject({
    status: 'failed',
    reason: 'policy_refused',
  });
  const running = t.step.execute({ port, interval: 60 }, t.context);
  await t.sink.seen(/Waiting until port \d+ of .* is open\.\n$/);
  t.stop('timed_out');
  expect(await running).toMatchObject({
    status: 'timed_out',
    message: expect.stringContaining('was not open'),
    ...took,
  });
});

test('an error of this machine does not mean that a port is closed', async () => {
  const codes = ['EMFILE', 'ENETUNREACH', 'ECONNREFUSED'];
  const probe = () => Promise.reject(dialError(target, target.host, { code: codes.shift() }));
  const target = { host: '127.0.0.1', port: 22 };
  const signal = new AbortController().signal;
  const output = new TestSink();
  const context = { target, output, signal, beforeStart: async () => {} } as unknown as StepContext;
  const config = { port: 22, state: 'closed', interval: 0.001 } as const;
  expect(await waitFor({ probe } as never).execute(config, context)).toMatchObject({ status: 'succeeded' });
  expect(codes).toEqual([]);
});

sshTest('a command is run again until it succeeds; a time is waited for', async () => {
  const t = await setup(waitFor);
  const command = 'n=$((n + 1)); echo try >>"$HOME/tries"; [ "$(wc -l <"$HOME/tries")" -ge 2 ]';
  expect(await t.step.execute({ command, interval: 1 }, t.context)).toMatchObject({ status: 'succeeded' });
  // An agent that reattaches must look for it as the user that it runs as.
  t.begun.length = 0;
  await t.step.execute({ command: 'true', timeout: 600, become: { user: 'app' } }, t.context);
  expect(t.begun).toEqual([{ survivesWith: { command: '-', timeout: 600, become: { user: 'app' } } }]);
  const begunAtMs = performance.now() - 3_600_000;
  const waited = await t.step.reattach?.({ seconds: 3_600 }, { ...t.context, begunAtMs });
  expect(waited).toMatchObject({ status: 'succeeded' });
  expect(waited?.executionTimeMs).toBeGreaterThanOrEqual(3_600_000);
  const running = t.step.execute({ seconds: 3_600 }, t.context);
  t.stop('cancelled');
  expect(await running).toMatchObject({ status: 'cancelled' });
});

sshTest('a command is not run again without a pause where there is no sleep', async () => {
  const t = await setup(waitFor, { config: ['ForceCommand PATH=/nowhere; eval "$SSH_ORIGINAL_COMMAND"'] });
  const outcome = await t.step.execute({ command: 'echo try; exit 1', interval: 1 }, t.context);
  expect(outcome).toMatchObject({ status: 'failed', exitCode: 127 });
  expect(t.sink.stdout).toBe('try\n');
  expect(t.sink.stderr).toMatch(/sleep.*not found/);
});

accountTest('a host whose startup files print no line end tells its boot id', async () => {
  const t = await setup(quick, { ...booted, config: [printsTitle] });
  await t.step.execute({ command: 'exit 1' }, t.context);
  expect(t.sink.stdout).toContain('The host was last started as boot first.');
});
