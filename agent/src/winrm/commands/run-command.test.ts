import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import {
  connectionTo,
  errorOf,
  hostOfFile,
  runOn,
  winrmPassword,
  winrmTest,
  winrmUser,
} from '../testing/winrm-setup.ts';

const usual = { maxPollSeconds: 0.2, maxSendSeconds: 60, noProfiles: false };
const host = hostOfFile({ settings: usual });

const exited = (exitCode: number) => ({ how: 'exited', exitCode, outputMayLack: false });

function runs(pid: string | undefined): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

winrmTest.for([
  ['exit 0', 0],
  ['exit 7', 7],
  ['echo 4294967295 > $FIXTURE_EXIT', -1],
  ['echo 3221225477 > $FIXTURE_EXIT', -1_073_741_819],
  ['echo 3010 > $FIXTURE_EXIT', 3010],
] as const)('the exit code of %j is %d', async ([command, code]) => {
  const { end, stdout, stderr } = await runOn(host.fixture, command);
  expect(end).toEqual(exited(code));
  expect([stdout.length, stderr.length]).toEqual([0, 0]);
});

winrmTest('environment, directory and input reach the command as they are', async () => {
  const value = ' ä€𝄞 <&>"\' \t\r\n end ';
  const { stdout } = await runOn(host.fixture, 'printf "%s|" "$A"; pwd; cat', {
    settings: { environment: { A: value }, workingDirectory: '/usr', idleTimeoutS: 600 },
    input: Buffer.from('in\0put'),
  });
  expect(stdout.toString()).toBe(`${value}|/usr\nin\0put`);
});

winrmTest('characters that XML can not carry are refused by name, and nothing is sent', async () => {
  const settings = { environment: { A: 'bell\u0007' }, workingDirectory: undefined, idleTimeoutS: 600 };
  const error = await errorOf(runOn(host.fixture, 'true', { settings }));
  expect(error.kind).toBe('invalid');
  expect(error.message).toContain('environment.A');
  expect((await host.fixture.stats()).requests).toEqual([]);
});

winrmTest('characters that are split between replies arrive whole, and both streams completely', async () => {
  const block =
    "i=0; while [ $i -lt 4000 ]; do echo '€€€€€€€€€€ out'; echo '𝄞𝄞𝄞𝄞𝄞𝄞 err' >&2; i=$((i+1)); done";
  const { end, stdout, stderr } = await runOn(host.fixture, block);
  expect(end).toEqual(exited(0));
  expect(stdout.toString()).toBe('€€€€€€€€€€ out\n'.repeat(4000));
  expect(stderr.toString()).toBe('𝄞𝄞𝄞𝄞𝄞𝄞 err\n'.repeat(4000));
});

winrmTest('more input than a message holds is sent while the output arrives', async () => {
  const input = Buffer.alloc(3_000_000, 'input that is echoed\n');
  const { end, stdout } = await runOn(host.fixture, 'cat', { input });
  expect(end).toEqual(exited(0));
  expect(stdout.equals(input)).toBe(true);
});

winrmTest('a command that ends without reading its input has ended well', async () => {
  const { end } = await runOn(host.fixture, 'exit 4', { input: Buffer.alloc(2_000_000, 'x') });
  expect(end).toEqual(exited(4));
});

winrmTest('the agent waits for a quiet command, poll after poll', async () => {
  await host.fixture.mishap({ action: 'Receive', what: 'fault:poll_again', times: 3 });
  const { end, stdout } = await runOn(host.fixture, 'echo late');
  expect(end).toEqual(exited(0));
  expect(stdout.toString()).toBe('late\n');
});

winrmTest('the output comes while the command runs', async () => {
  const seen: string[] = [];
  const file = join(host.fixture.dir, 'go-on');
  const { end } = await runOn(
    host.fixture,
    `echo first; while [ ! -e ${file} ]; do sleep 0.02; done; echo second`,
    {
      onOutput: async (_, bytes) => {
        if (seen.push(bytes.toString()) === 1) writeFileSync(file, '');
      },
    },
  );
  expect(end).toEqual(exited(0));
  expect(seen.join('')).toBe('first\nsecond\n');
});

winrmTest('a command that is stopped gets Ctrl+C first, then is ended, and its shell is gone', async () => {
  const stop = new AbortController();
  let pid: string | undefined;
  const { end } = await runOn(host.fixture, 'echo pid $$; sleep 1000', {
    signal: stop.signal,
    onOutput: (_, bytes) => {
      pid = /pid (\d+)/.exec(bytes.toString())?.[1];
      stop.abort(new Error('stopped'));
    },
  });
  expect(end).toMatchObject({ how: 'stopped', confirmed: true });
  expect(pid).toBeDefined();
  expect(runs(pid)).toBe(false);
  expect((await host.fixture.stats()).shells).toBe(0);
});

winrmTest('a command that ignores ctrl_c is terminated after its grace period', async () => {
  const stop = new AbortController();
  let pid: string | undefined;
  const { end } = await runOn(host.fixture, 'trap "" INT; echo pid $$; while :; do sleep 0.05; done', {
    signal: stop.signal,
    killGraceMs: () => 100,
    onOutput: (_, bytes) => {
      pid = /pid (\d+)/.exec(bytes.toString())?.[1];
      stop.abort(new Error('stopped'));
    },
  });
  expect(end).toMatchObject({ how: 'stopped', confirmed: true, onCtrlC: false });
  expect(runs(pid)).toBe(false);
  const { shells, requests } = await host.fixture.stats();
  expect(shells).toBe(0);
  expect(requests.filter((action) => action === 'Signal')).toHaveLength(2);
});

winrmTest('a stop does not wait for input that the command does not take', async () => {
  const stop = new AbortController();
  await host.fixture.mishap({ action: 'Send', what: 'hang' });
  const { end } = await runOn(host.fixture, 'echo ready; sleep 1000', {
    input: Buffer.alloc(200_000),
    signal: stop.signal,
    onOutput: () => stop.abort(new Error('stopped')),
  });
  expect(end).toMatchObject({ how: 'stopped', confirmed: true });
  const { requests } = await host.fixture.stats();
  expect(requests).toContain('Signal');
});

winrmTest('a command that cleans up on ctrl_c keeps its exit code and its last output', async () => {
  const stop = new AbortController();
  const output: string[] = [];
  const { end } = await runOn(
    host.fixture,
    'trap "echo cleaned; exit 5" INT; echo ready; while :; do sleep 0.02; done',
    {
      signal: stop.signal,
      onOutput: (_, bytes) => {
        output.push(bytes.toString());
        stop.abort(new Error('stopped'));
      },
    },
  );
  expect(end).toMatchObject({ how: 'stopped', confirmed: true, onCtrlC: true, exitCode: 5 });
  expect(output.join('')).toContain('cleaned');
});

winrmTest('a stop that the host does not confirm is reported as unconfirmed', async () => {
  const stop = new AbortController();
  await host.fixture.mishap({ action: 'Signal', what: '503', times: 9 });
  await host.fixture.mishap({ action: 'Delete', what: '503', times: 9 });
  const { end } = await runOn(host.fixture, 'echo ready; sleep 1000', {
    signal: stop.signal,
    onOutput: () => stop.abort(new Error('stopped')),
  });
  expect(end).toMatchObject({ how: 'stopped', confirmed: false, why: expect.stringContaining('503') });
  await host.fixture.loseShells();
});

winrmTest('a command that was stopped before its start is not begun', async () => {
  const stop = new AbortController();
  const run = runOn(host.fixture, 'true', {
    signal: stop.signal,
    beforeStart: async () => stop.abort(new Error('stopped')),
  });
  await expect(run).rejects.toThrow('stopped');
  const { shells, requests } = await host.fixture.stats();
  expect(shells).toBe(0);
  expect(requests).not.toContain('Command');
});

winrmTest('a command that `beforeStart` refuses is not begun, and leaves no shell', async () => {
  const run = runOn(host.fixture, 'true', {
    beforeStart: async () => {
      throw new Error('the lease is over');
    },
  });
  await expect(run).rejects.toThrow('the lease is over');
  expect(await host.fixture.stats()).toMatchObject({ shells: 0, requests: ['Create', 'Delete'] });
});

// ---- lost connections

winrmTest('a command whose start was not answered is lost, and is not begun again', async () => {
  const mark = join(host.fixture.dir, 'mark');
  await host.fixture.mishap({ action: 'Command', moment: 'after', what: 'drop' });
  const { end } = await runOn(host.fixture, `echo once >> ${mark}`);
  expect(end).toMatchObject({ how: 'lost', error: { kind: 'ambiguous' } });
  const { requests, shells } = await host.fixture.stats();
  expect(requests.filter((action) => action === 'Command')).toHaveLength(1);
  expect(shells).toBe(0);
});

winrmTest('a command whose start was lost before the host saw it is not begun again either', async () => {
  await host.fixture.mishap({ action: 'Command', what: 'drop' });
  const { end } = await runOn(host.fixture, 'true');
  expect(end).toMatchObject({ how: 'lost' });
});

winrmTest('a command whose start was answered with something changed is lost', async () => {
  await host.fixture.mishap({ action: 'Command', moment: 'after', what: 'tampered' });
  const { end } = await runOn(host.fixture, 'true');
  expect(end).toMatchObject({ how: 'lost', error: { kind: 'protocol' } });
  expect((await host.fixture.stats()).shells).toBe(0);
});

winrmTest.for([
  ['http', '401'],
  ['https', '401'],
  ['http', '403'],
  ['https', '404'],
  ['http', '502'],
  ['https', '503'],
  ['http', '504'],
  ['http', 'empty500'],
] as const)(
  'over %s a command whose start is answered with HTTP %s is lost, and is not begun again',
  async ([listener, what]) => {
    await host.fixture.mishap({ action: 'Command', moment: 'after', what });
    const { end } = await runOn(host.fixture, 'exit 6', { listener });
    expect(end).toMatchObject({ how: 'lost', error: { notExecuted: false } });
    const { requests, shells } = await host.fixture.stats();
    expect(requests.filter((action) => action === 'Command')).toHaveLength(1);
    expect(shells).toBe(0);
  },
);

winrmTest.for(['registry_gone', 'aborted', 'poll_again', 'schema'])(
  'a command whose start is answered with the fault %s may have begun: it is lost',
  async (fault) => {
    await host.fixture.mishap({ action: 'Command', what: `fault:${fault}` });
    expect((await runOn(host.fixture, 'exit 6')).end).toMatchObject({ how: 'lost' });
    const { requests } = await host.fixture.stats();
    expect(requests.filter((action) => action === 'Command')).toHaveLength(1);
  },
);

winrmTest('a fault from a host whose certificate was not checked proves nothing', async () => {
  await host.fixture.mishap({ action: 'Command', what: 'fault:shell_gone' });
  const { end } = await runOn(host.fixture, 'exit 6', {
    listener: 'https',
    connection: { tls: { insecure: true } },
  });
  expect(end).toMatchObject({ how: 'lost', error: { kind: 'shell_gone' } });
  expect((await host.fixture.stats()).created).toBe(1);
});

winrmTest('input that is answered with HTTP 401 is not sent twice', async () => {
  await host.fixture.mishap({ action: 'Send', moment: 'after', what: '401' });
  const { end } = await runOn(host.fixture, 'cat; sleep 1000', { input: Buffer.from('x') });
  expect(end).toMatchObject({ how: 'lost', error: { kind: 'ambiguous' } });
  const { requests } = await host.fixture.stats();
  expect(requests.filter((action) => action === 'Send')).toHaveLength(1);
});

winrmTest('a host that can not be reached before the start leaves nothing begun', async () => {
  const where = { names: ['127.0.0.1'] };
  const error = await errorOf(
    runOn(host.fixture, 'true', {
      listener: 'https',
      connection: {
        login: { method: 'basic', user: winrmUser, password: winrmPassword },
        addressesOf: async () => where.names,
        monotonicMs: () => (where.names[0] === '127.0.0.1' ? 0 : 61_000),
      },
      beforeStart: async () => {
        where.names = ['127.0.0.9'];
      },
    }),
  );
  expect(error).toMatchObject({ kind: 'connection_refused', notExecuted: true });
  await host.fixture.loseShells();
});

winrmTest(
  'a session that the host has forgotten under a running command is replaced by a new one',
  async () => {
    await host.fixture.mishap({ action: 'Receive', what: '401', skip: 1 });
    const { end, stdout } = await runOn(host.fixture, 'echo one; sleep 0.3; echo two');
    expect(end).toEqual(exited(0));
    expect(stdout.toString()).toBe('one\ntwo\n');
  },
);

winrmTest(
  'a connection that is lost while the command is quiet is replaced, and possibly missing output is reported',
  async () => {
    await host.fixture.mishap({ action: 'Receive', what: 'drop', times: 2 });
    const { end, stdout } = await runOn(host.fixture, 'sleep 0.2; echo here');
    expect(end).toEqual({ how: 'exited', exitCode: 0, outputMayLack: true });
    expect(stdout.toString()).toBe('here\n');
  },
);

winrmTest('the time that a host may be unreachable begins when it becomes unreachable', async () => {
  await host.fixture.mishap({ action: 'Receive', what: 'drop' });
  const { end } = await runOn(host.fixture, 'exit 6', { limits: { reconnectMs: 0, retryMs: 10 } });
  expect(end).toMatchObject({ how: 'exited', exitCode: 6 });
});

winrmTest('a host that stays away is given up, and its command is lost', async () => {
  await host.fixture.mishap({ action: 'Receive', what: 'drop', times: 100_000 });
  const { end } = await runOn(host.fixture, 'sleep 1000', { limits: { reconnectMs: 200, retryMs: 10 } });
  expect(end).toMatchObject({ how: 'lost', error: { kind: 'ambiguous' } });
  expect((await host.fixture.stats()).shells).toBe(0);
});

winrmTest('a shell that disappears under its command is reported', async () => {
  const { end } = await runOn(host.fixture, 'echo ready; sleep 1000', {
    onOutput: () => host.fixture.loseShells(),
  });
  expect(end).toMatchObject({ how: 'lost', error: { kind: 'shell_gone' } });
});

winrmTest('a shell whose removal is not answered is removed anyway', async () => {
  await host.fixture.mishap({ action: 'Delete', moment: 'after', what: 'drop' });
  const { end } = await runOn(host.fixture, 'true');
  expect(end).toEqual(exited(0));
  expect((await host.fixture.stats()).shells).toBe(0);
});

// ---- quotas and other faults

winrmTest('at the quota of operations a new shell is made, once', async () => {
  await host.fixture.mishap({ action: 'Command', what: 'fault:operations_quota' });
  const { end } = await runOn(host.fixture, 'exit 6');
  expect(end).toEqual(exited(6));
  expect(await host.fixture.stats()).toMatchObject({ created: 2, shells: 0 });

  await host.fixture.reset({});
  await host.fixture.mishap({ action: 'Command', what: 'fault:operations_quota', times: 2 });
  const error = await errorOf(runOn(host.fixture, 'exit 6'));
  expect(error).toMatchObject({ kind: 'quota', code: 2150859174 });
  expect(error.message).toContain('maximum number of concurrent operations');
  expect(await host.fixture.stats()).toMatchObject({ created: 2, shells: 0 });
});

winrmTest('a shell that is gone before its command began is replaced', async () => {
  await host.fixture.mishap({ action: 'Command', what: 'fault:shell_gone' });
  expect((await runOn(host.fixture, 'exit 6')).end).toEqual(exited(6));
});

winrmTest('too many shells of one user are reported, with what to change', async () => {
  await host.fixture.reset({ maxShells: 0 });
  const error = await errorOf(runOn(host.fixture, 'true'));
  expect(error).toMatchObject({ kind: 'quota' });
  expect(error.advice).toContain('MaxShellsPerUser');
  await host.fixture.reset({ maxShells: 30 });
});

winrmTest.for([
  ['Create', 'denied', 'not_authorized', 'configSDDL'],
  ['Command', 'bad_directory', 'bad_directory', 'working_directory'],
  ['Command', 'shell_gone', 'shell_gone', 'restart'],
  ['Command', 'not_found', 'fault', 'installed'],
  ['Create', 'schema', 'fault', 'event log'],
] as const)('a %s that is refused with %s is reported as %s', async ([action, fault, kind, advice]) => {
  await host.fixture.mishap({ action, what: `fault:${fault}`, times: 2 });
  const error = await errorOf(runOn(host.fixture, 'true'));
  expect(error.kind).toBe(kind);
  expect(error.advice).toContain(advice);
  expect((await host.fixture.stats()).shells).toBe(0);
});

winrmTest(
  'a user whose profile the host does not load gets a shell without it, and the host is asked to load it only once',
  async () => {
    await host.fixture.reset({ ...usual, noProfiles: true });
    const connection = connectionTo(host.fixture, 'http');
    const connections = { connect: () => connection, release: () => {} };
    for (let n = 0; n < 2; n += 1) {
      expect((await runOn(host.fixture, 'exit 6', { connections })).end).toEqual(exited(6));
    }
    const { requests, shells } = await host.fixture.stats();
    expect([requests.filter((action) => action === 'Create').length, shells]).toEqual([3, 0]);
  },
);

winrmTest('with a missing directory nothing is started', async () => {
  const settings = { environment: {}, workingDirectory: '/nowhere/at/all', idleTimeoutS: 600 };
  expect(await errorOf(runOn(host.fixture, 'true', { settings }))).toMatchObject({ kind: 'bad_directory' });
});
