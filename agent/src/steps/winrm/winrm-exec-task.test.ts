import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { powershellBootstrap, type WinrmExecConfig } from '@opsconductor/protocol';
import { expect, onTestFinished, vi } from 'vitest';
import { SshError } from '../../ssh/ssh-error.ts';
import { WinrmPool } from '../../winrm/connection/pool.ts';
import { limitsProgram } from '../../winrm/powershell/limits-program.ts';
import { cmdRunner, powershellText } from '../../winrm/powershell/powershell.ts';
import { taskProgram, taskSupervisor } from '../../winrm/tasks/task-program.ts';
import { isSoundPowershell } from '../../winrm/testing/powershell-tree.ts';
import { hostOfFile, winrmTest } from '../../winrm/testing/winrm-setup.ts';
import { TestSink } from '../ssh-exec/ssh-exec-setup.ts';
import type { BeforeStart, StepContext, StopRequest } from '../step-type.ts';
import { winrmExec } from './winrm-exec.ts';
import { winrmContext } from './winrm-step-setup.ts';

const usual = {
  maxPollSeconds: 1,
  noTasks: false,
  taskUsers: { 'CORP\\worker': 'hunter-9f3 & "that"' },
};
const host = hostOfFile({
  emulated: { bootstrap: powershellBootstrap, cmdRunner, limitsProgram, taskProgram, taskSupervisor },
  settings: { ...usual, noAccess: false },
});

let names = 0;
const worker = { id: '8', version: 1, user: 'CORP\\worker', password: 'hunter-9f3 & "that"' };

function setup(more: Partial<StepContext> = {}, pool = new WinrmPool()) {
  onTestFinished(() => pool.close());
  const controller = new AbortController();
  const sink = new TestSink();
  const begun: (BeforeStart | undefined)[] = [];
  names += 1;
  const context = winrmContext(host.fixture, {
    directoryName: `installation.1.1.${names}`,
    output: sink,
    signal: controller.signal,
    beforeStart: async (how) => {
      begun.push(how);
    },
    ...more,
  });
  const step = winrmExec({ pool, limits: { retryMs: 10, reconnectMs: 100 } });
  return {
    sink,
    pool,
    context,
    begun,
    step,
    run: (config: Omit<WinrmExecConfig, 'run_as'>) => step.execute({ ...config, run_as: 'system' }, context),
    remove: () => step.remove?.(context, { command: true, outputFile: false }, undefined),
    stop: () => controller.abort({ cause: 'cancelled', killGraceMs: 0 } satisfies StopRequest),
  };
}

/** The stand-in for PowerShell runs the rest with /bin/sh. */
const sh = (script: string) => `# sh\n${script}`;

winrmTest(
  'a script runs as SYSTEM with its values, and its task stays until the end is confirmed',
  async () => {
    const t = setup({ bindings: [{ name: 'OPS_1', type: 'string', value: 'a "b" $c', secret: false }] });
    const command = sh('echo "$FIXTURE_USER $OPS_1 $A $OPSCONDUCTOR_ATTEMPT"; pwd; echo bad >&2; exit 9');
    const config = { command, environment: { A: 'x' }, working_directory: '/usr', expected_exit_codes: [9] };
    expect(await t.run(config)).toMatchObject({ status: 'succeeded', exitCode: 9 });
    expect(t.sink.stdout).toBe('SYSTEM a "b" $c x installation.1.1\n/usr\n');
    expect(t.sink.stderr).toBe('bad\n');
    // Nothing of the script is written to the agent's disk.
    expect(t.begun).toEqual([{ survivesWith: { command: '-', run_as: 'system', expected_exit_codes: [9] } }]);
    expect(host.fixture.tasks).toHaveLength(1);
    await t.remove();
    expect(host.fixture.tasks).toEqual([]);
  },
);

winrmTest(
  'a script runs as the user of another credential, whose password appears only in the login',
  async () => {
    const { user } = worker;
    const t = setup({ runAs: worker });
    // The password is neither in the task's folder nor on any command line; the pattern does not match itself.
    const files = `grep -rl '[h]unter-9f3' ${host.fixture.dir}/tasks /proc/[0-9]*/cmdline 2>/dev/null || echo none`;
    const config = { command: sh(`echo "$FIXTURE_USER"; cat; ${files}`), stdin: 'given' };
    const outcome = await t.step.execute({ ...config, run_as_credential: 'worker' }, t.context);
    expect(outcome).toMatchObject({ status: 'succeeded' });
    expect(t.sink.stdout).toBe(`${user}\ngiven\nnone\n`);
    // Neither the input nor the command is written to the agent's disk.
    expect(t.begun).toEqual([{ survivesWith: { command: '-', run_as_credential: 'worker' } }]);
    await t.remove();
    const wrong = setup({ runAs: { ...worker, password: 'another' } });
    expect(await wrong.step.execute({ ...config, run_as_credential: 'worker' }, wrong.context)).toMatchObject(
      {
        status: 'failed',
        message: expect.stringContaining('The user name or password is incorrect'),
      },
    );
    const none = setup();
    await expect(
      none.step.execute({ ...config, run_as_credential: 'worker' }, none.context),
    ).rejects.toMatchObject({ reason: 'credential_unusable' });
  },
);

winrmTest(
  'a host outside the bounds of the other credential is sent no password, even over a connection that exists already',
  async () => {
    const plain = setup();
    expect(await plain.step.execute({ command: sh('true') }, plain.context)).toMatchObject({
      status: 'succeeded',
    });
    await plain.pool.settled();
    expect(plain.pool.idle).toBeGreaterThan(0);
    const checkAddresses = () => {
      throw new SshError({ reason: 'credential_bounds', message: 'Not there.', advice: 'Elsewhere.' });
    };
    const t = setup({ runAs: worker, checkAddresses }, plain.pool);
    const config = { command: sh('true'), run_as_credential: 'worker' };
    expect(await t.step.execute(config, t.context)).toMatchObject({
      status: 'failed',
      reason: 'credential_bounds',
    });
    expect(t.begun).toEqual([]);
    expect(host.fixture.tasks).toEqual([]);
  },
);

winrmTest('a task that may not survive its agent is removed at once', async () => {
  const t = setup({ maySurvive: false });
  expect(await t.run({ shell: 'cmd', command: 'echo of cmd' })).toMatchObject({ status: 'succeeded' });
  expect(t.sink.stdout).toBe('of cmd\n');
  expect(t.begun).toEqual([undefined]);
  expect(host.fixture.tasks).toEqual([]);
});

winrmTest('without positions in the sink, a lost connection does not duplicate output', async () => {
  const t = setup({ maySurvive: false });
  t.sink.kept.written = () => ({ stdout: 0, stderr: 0 });
  await host.fixture.mishap({ action: 'Receive', what: 'drop', skip: 2, times: 3 });
  const command = sh('for n in 1 2 3 4 5 6; do echo $n; sleep 0.2; done');
  expect(await t.run({ command })).toMatchObject({ status: 'succeeded' });
  expect(t.sink.stdout).toBe('1\n2\n3\n4\n5\n6\n');
});

winrmTest('a lost connection costs neither output nor a second start', async () => {
  let unknown = 2;
  const t = setup({
    checkAddresses: () => {
      if (!t.sink.stdout.includes('1') || unknown === 0) return;
      unknown -= 1;
      throw new SshError({ reason: 'name_not_found', message: 'No such name.', advice: 'Look.' });
    },
  });
  await host.fixture.mishap({ action: 'Receive', what: 'drop', skip: 2, times: 3 });
  const command = sh('for n in 1 2 3 4 5 6; do echo $n; sleep 0.2; done; exit 4');
  expect(await t.run({ command })).toMatchObject({ status: 'failed', exitCode: 4 });
  expect(t.sink.stdout).toBe('1\n2\n3\n4\n5\n6\n');
  expect(t.begun).toHaveLength(1);
  expect(unknown).toBe(0);
  await t.remove();
});

winrmTest.for([true, false])(
  'output in a reply that was lost comes with the next poll, complete and once (followed: %s)',
  async (maySurvive) => {
    const t = setup({ maySurvive });
    await host.fixture.mishap({ action: 'Receive', moment: 'after', what: 'drop', skip: 1, times: 2 });
    expect(await t.run({ command: sh('seq 1 60000; echo bad >&2') })).toMatchObject({ status: 'succeeded' });
    const lines = Array.from({ length: 60_000 }, (_, at) => `${at + 1}\n`).join('');
    // Not compared as text, because the difference would be too long to read.
    expect(t.sink.stdout === lines).toBe(true);
    expect(t.sink.stderr).toBe('bad\n');
    await t.remove();
  },
);

winrmTest(
  'a script is not reported as not started if the reply that told of its start was lost',
  async () => {
    const t = setup();
    writeFileSync(join(host.fixture.dir, 'locked'), '');
    await host.fixture.mishap({ action: 'Receive', moment: 'after', what: 'drop' });
    expect(await t.run({ command: sh('sleep 0.3; echo once; exit 4') })).toMatchObject({
      status: 'failed',
      reason: 'exit_code',
      exitCode: 4,
    });
    expect(t.sink.stdout).toBe('once\n');
    await t.remove();
  },
);

winrmTest(
  'a poll that is lost while the host is about to start the script does not prevent the start',
  async () => {
    const t = setup();
    await host.fixture.mishap({ action: 'Receive', what: 'drop' });
    expect(await t.run({ command: sh('echo here') })).toMatchObject({ status: 'succeeded' });
    expect(t.sink.stdout).toBe('here\n');
    const { requests } = await host.fixture.stats();
    expect(requests.filter((action) => action === 'Command')).toHaveLength(1);
    await t.remove();
  },
);

winrmTest('an account whose password was changed meanwhile is not locked out by retries', async () => {
  const t = setup();
  const running = t.run({ command: sh('echo ready; sleep 1000') });
  await t.sink.seen(/ready/);
  let logins = 0;
  const later = setup({
    directoryName: t.context.directoryName,
    credential: { ...t.context.credential, password: 'another' } as StepContext['credential'],
    checkAddresses: () => {
      logins += 1;
    },
  });
  expect(await later.step.reattach?.({ command: '-', run_as: 'system' }, later.context)).toMatchObject({
    status: 'unknown',
  });
  expect(logins).toBeLessThan(5);
  t.stop();
  await running;
  await t.remove();
});

winrmTest('an account that may no longer use WinRM is not logged in again and again', async () => {
  const t = setup();
  const goOn = join(host.fixture.dir, 'go-on-without');
  const running = t.run({ command: sh(`echo ready; until [ -e ${goOn} ]; do sleep 0.02; done`) });
  await t.sink.seen(/ready/);
  await host.fixture.reset({ ...usual, noAccess: true });
  expect(await running).toMatchObject({
    status: 'unknown',
    reason: 'connection_lost',
    message: expect.stringContaining('does not let this user use WinRM'),
  });
  await host.fixture.reset({ ...usual, noAccess: false });
  writeFileSync(goOn, '');
  await t.remove();
});

winrmTest(
  'a follower whose input the host may have lost is started again, and the task’s own end is reported',
  async () => {
    const t = setup();
    const goOn = join(host.fixture.dir, 'go-on-behind');
    const running = t.run({
      command: sh(`echo ready; until [ -e ${goOn} ]; do sleep 0.02; done; echo done; exit 4`),
    });
    await t.sink.seen(/ready/);
    await host.fixture.mishap({ action: 'Send', what: 'fault:poll_again' });
    await host.fixture.mishap({ action: 'Receive', what: 'drop' });
    await vi.waitFor(async () => {
      expect((await host.fixture.stats()).requests.filter((action) => action === 'Send')).toHaveLength(2);
    }, 20_000);
    writeFileSync(goOn, '');
    expect(await running).toMatchObject({ status: 'failed', reason: 'exit_code', exitCode: 4 });
    expect(t.sink.stdout).toBe('ready\ndone\n');
    await t.remove();
  },
);

winrmTest('a later agent continues reading where the first one stopped', async () => {
  const t = setup();
  const running = t.run({
    command: sh('echo ready; sleep 1000'),
  });
  await t.sink.seen(/ready/);
  const after = setup({ directoryName: t.context.directoryName });
  after.sink.written.stdout = 'ready\n'.length;
  const config = { command: '-', run_as: 'system' } as const;
  const again = after.step.reattach?.(config, after.context);
  const other = setup({ directoryName: t.context.directoryName });
  other.stop();
  expect(await other.step.reattach?.(config, other.context)).toMatchObject({ status: 'cancelled' });
  // Both see that it was ended from outside.
  for (const outcome of [await again, await running]) {
    expect(outcome).toMatchObject({ status: 'unknown', reason: 'connection_lost' });
  }
  expect(after.sink.stdout).toBe('');
  await t.remove();
  const gone = setup({ directoryName: t.context.directoryName });
  expect(await gone.step.reattach?.(config, gone.context)).toMatchObject({
    status: 'unknown',
    message: expect.stringContaining('no trace of its scheduled task'),
  });
});

winrmTest('cancelling a step ends its task', async () => {
  const t = setup();
  const running = t.run({ command: sh('echo ready; sleep 1000') });
  await t.sink.seen(/ready/);
  t.stop();
  expect(await running).toMatchObject({ status: 'cancelled', reason: 'cancelled' });
  await t.remove();
  expect(host.fixture.tasks).toEqual([]);
});

/**
 * Stops the step while the host is about to start the script. The program that starts it continues once the stop has
 * found no process, unless the stop ended that program.
 */
async function stopWhileItBegins(t: ReturnType<typeof setup>, before = async () => {}) {
  const hold = join(host.fixture.dir, 'hold-start');
  const waits = `${hold}-waits`;
  rmSync(waits, { force: true });
  writeFileSync(hold, '');
  const running = t.run({ command: sh(':') });
  await vi.waitFor(() => expect(existsSync(waits)).toBe(true), { timeout: 10_000 });
  await before();
  t.stop();
  return await running;
}

winrmTest('a stop before the script has started leaves nothing that would start it', async () => {
  const t = setup();
  expect(await stopWhileItBegins(t)).toMatchObject({ status: 'cancelled', reason: 'cancelled' });
  expect(host.fixture.tasks).toEqual([]);
});

winrmTest('a stop is not confirmed if the script may still start after it', async () => {
  const t = setup();
  const outcome = await stopWhileItBegins(t, async () => {
    for (const action of ['Signal', 'Delete']) await host.fixture.mishap({ action, what: '503', times: 9 });
  });
  expect(outcome).toMatchObject({ status: 'unknown', reason: 'cancel_unconfirmed' });
  await host.fixture.loseShells();
  await t.remove();
});

winrmTest('a stop that finds no process of the task is not confirmed', async () => {
  const t = setup({ runAs: worker });
  const folder = join(host.fixture.dir, 'tasks', t.context.directoryName);
  const goOn = join(host.fixture.dir, 'go-on');
  const command = sh(`: >${folder}/pid; echo ready; until [ -e ${goOn} ]; do sleep 0.02; done`);
  const running = t.step.execute({ command, run_as_credential: 'worker' }, t.context);
  await t.sink.seen(/ready/);
  t.stop();
  expect(await running).toMatchObject({
    status: 'unknown',
    reason: 'cancel_unconfirmed',
    message: expect.stringContaining('Its process was not found'),
  });
  writeFileSync(goOn, '');
  await t.remove();
});

winrmTest(
  'a task is stopped, but not confirmed to be, if the host names no owner of its process',
  async () => {
    const t = setup({ runAs: worker });
    const noOwner = join(host.fixture.dir, 'no-owner');
    const held = join(host.fixture.dir, 'held-open');
    const command = sh(`mkfifo ${held}; exec 3<>${held}; echo ready; sleep 1000`);
    const running = t.step.execute({ command, run_as_credential: 'worker' }, t.context);
    await t.sink.seen(/ready/);
    const ofScript = await open(held);
    writeFileSync(noOwner, '');
    onTestFinished(() => rmSync(noOwner));
    t.stop();
    expect(await running).toMatchObject({
      status: 'unknown',
      reason: 'cancel_unconfirmed',
      message: expect.stringContaining('Its process was not found'),
    });
    // The pipe ends once no process of the script holds it.
    expect(await ofScript.readFile('utf8')).toBe('');
    await ofScript.close();
    await t.remove();
  },
);

winrmTest('a stopped batch file leaves neither itself nor its input on the host', async () => {
  const t = setup();
  const stdin = 'word-8c1f of it\n';
  const running = t.run({ shell: 'cmd', command: 'echo ready; sleep 1000', stdin });
  await t.sink.seen(/ready/);
  expect(host.fixture.filesWith(stdin)).toHaveLength(1);
  t.stop();
  expect(await running).toMatchObject({ status: 'cancelled' });
  await t.remove();
  expect(host.fixture.filesWith(stdin)).toEqual([]);
});

winrmTest(
  'a task that runs as another user is ended with that user’s processes, whichever agent stops it',
  async () => {
    const t = setup({ runAs: worker });
    const config = { command: sh('echo ready; sleep 1000'), run_as_credential: 'worker' };
    const running = t.step.execute(config, t.context);
    await t.sink.seen(/ready/);
    const other = setup({ directoryName: t.context.directoryName, runAs: worker });
    other.stop();
    const reattached = other.step.reattach?.({ command: '-', run_as_credential: 'worker' }, other.context);
    expect(await reattached).toMatchObject({ status: 'cancelled' });
    expect(await running).toMatchObject({ status: 'unknown', reason: 'connection_lost' });
    await t.remove();
  },
);

winrmTest(
  'a host that can not make a task for the user, or has no such directory, fails the step before it starts',
  async () => {
    const t = setup();
    expect(await t.run({ command: sh('true'), working_directory: '/not/there' })).toMatchObject({
      status: 'failed',
      message: expect.stringContaining('/not/there is not there'),
    });
    await host.fixture.mishap({ action: 'Create', what: 'fault:denied', times: 2 });
    expect(await t.run({ command: sh('true') })).toMatchObject({
      status: 'failed',
      reason: 'not_authorized',
    });
    expect(host.fixture.tasks).toEqual([]);
  },
);

winrmTest('the programs of tasks are valid PowerShell 5.1, and fit a command line of cmd.exe', async () => {
  for (const program of [taskProgram, taskSupervisor]) {
    expect(await isSoundPowershell(program)).toBe(true);
    expect(program).not.toMatch(/\?\?|\?\.|&&|\|\||\s\?\s|-Parallel/);
  }
  // In this order, as in the stand-in: stopping the task may end its process, and it is stopped even if the look-up
  // fails.
  expect(taskProgram).toMatch(
    /\$id = \$null\n {2}try \{ \$id = OpsProcess \} catch \{ \}\n.*\.Stop\(0\).*\n {2}\$left = OpsProcess/,
  );
  const folder =
    'C:\\Windows\\Temp\\OpsConductor-00000000-0000-0000-0000-000000000000.1234567.12.0123456789abcdef';
  expect(powershellText('powershell').length + 3 * folder.length + 60).toBeLessThan(8_191);
});
