import { setMaxListeners } from 'node:events';
import { expect, onTestFinished } from 'vitest';
import {
  hostOfFile,
  optionsFor,
  runOn,
  winrmPassword,
  winrmTest,
  winrmUser,
} from '../testing/winrm-setup.ts';
import { WinrmPool, type WinrmPoolOptions } from './pool.ts';

const host = hostOfFile({ settings: { maxPollSeconds: 0.2, maxShells: 30 } });
/** Long enough for a busy machine. */
const patiently = { timeout: 30_000 };
const exited = (exitCode: number) => ({ how: 'exited', exitCode, outputMayLack: false });

function setup(options: WinrmPoolOptions = {}) {
  const pool = new WinrmPool(options);
  onTestFinished(() => pool.close());
  const of = (owner = '1 1', more = {}) => pool.of(optionsFor(host.fixture, 'http', more), owner);
  const run = (command: string) => runOn(host.fixture, command, { connections: of() });
  return {
    pool,
    of,
    run,
    /** Also waits until the shell is removed. */
    async runWhole(command: string) {
      const ran = await run(command);
      await pool.settled();
      return ran;
    },
  };
}

winrmTest('consecutive commands share logins, and leave no shell', async () => {
  const t = setup();
  for (let n = 0; n < 4; n += 1) expect((await t.runWhole(`exit ${n}`)).end).toEqual(exited(n));
  expect(t.pool.idle).toBe(2);
  await t.pool.close();
  // From the second command on, a shell is made ahead on another connection.
  const actions = ['Create', 'Command', 'Send', 'Receive', 'Delete'];
  const { requests, ...counted } = await host.fixture.stats();
  expect(counted).toMatchObject({ handshakes: 2, created: 5, shells: 0 });
  expect(requests.slice(0, 10)).toEqual([...actions, ...actions]);
  expect(requests.slice(10, 12)).toEqual(['Create', 'Command']);
});

winrmTest('no connection is lent again after the pool was told to retire them', async () => {
  const t = setup();
  await t.runWhole('exit 0');
  const lent = t.of().connect();
  await t.runWhole('exit 0');
  t.pool.retire();
  await t.pool.settled();
  expect(t.pool.idle).toBe(0);
  t.of().release(lent);
  expect(t.pool.idle).toBe(0);
  expect(t.of().connectWarm?.()).toBeUndefined();
  expect((await t.runWhole('exit 3')).end).toEqual(exited(3));
  expect(t.pool.idle).toBeGreaterThan(0);
});

winrmTest('retired logins of one host are not lent again, and those of others are', async () => {
  const t = setup();
  await t.runWhole('exit 0');
  const other = t.of('2 1');
  await runOn(host.fixture, 'exit 0', { connections: other });
  await t.pool.settled();
  const lent = t.of().connect();
  t.of().retire?.();
  await t.pool.settled();
  t.of().release(lent);
  expect(t.of().connectWarm?.()).toBeUndefined();
  expect(other.connectWarm?.()).toBeDefined();
});

winrmTest('a shell that was made ahead and is gone, or takes the room of another, does no harm', async () => {
  const t = setup();
  for (let n = 0; n < 2; n += 1) await t.runWhole('exit 0');
  await host.fixture.loseShells();
  expect((await t.runWhole('exit 3')).end).toEqual(exited(3));
  await host.fixture.reset({ maxShells: 1 });
  const inItsOwn = { environment: { A: 'x' }, workingDirectory: undefined, idleTimeoutS: 600 };
  const { end } = await runOn(host.fixture, 'exit 4', { connections: t.of(), settings: inItsOwn });
  expect(end).toEqual(exited(4));
});

winrmTest('a command that waits for room on one host does not wait for work on another', async () => {
  const t = setup();
  const other = t.of('2 1');
  let remove = () => {};
  const settings = { environment: {}, workingDirectory: undefined, idleTimeoutS: 600 };
  other.finish?.(other.connect(), new Promise((resolve) => (remove = resolve)), settings);
  await t.of().settle?.();
  remove();
});

winrmTest('a shell that was made ahead is removed when nothing follows', async () => {
  const t = setup({ spareMs: 0 });
  for (let n = 0; n < 2; n += 1) await t.runWhole('exit 0');
  await expect.poll(async () => (await host.fixture.stats()).shells, patiently).toBe(0);
});

winrmTest('concurrent commands have connections of their own', async () => {
  const t = setup();
  const ends = await Promise.all([1, 2, 3, 4].map((n) => t.run(`exit ${n}`)));
  await t.pool.settled();
  expect(ends.map(({ end }) => end)).toEqual([1, 2, 3, 4].map(exited));
  expect(t.pool.idle).toBe(4);
  await t.runWhole('exit 0');
  expect(t.pool.idle).toBe(4);
  expect((await host.fixture.stats()).handshakes).toBe(4);
});

winrmTest('another credential, or another version of it, gets another connection', async () => {
  const t = setup();
  await t.run('exit 0');
  const user = `FIXTURE\\${winrmUser}`;
  const login = { method: 'ntlm', user, password: winrmPassword } as const;
  for (const other of [t.of('1 2'), t.of('2 1'), t.of('1 1', { login })]) {
    await runOn(host.fixture, 'true', { connections: other });
  }
  await t.pool.settled();
  expect(t.pool.idle).toBe(4);
  expect((await host.fixture.stats()).handshakes).toBe(4);
});

winrmTest(
  'a session that the host has forgotten is replaced by a new one, and the command runs once',
  async () => {
    const t = setup();
    await t.runWhole('exit 0');
    await host.fixture.forgetSessions();
    expect((await t.run('exit 5')).end).toEqual(exited(5));
    const { handshakes, requests } = await host.fixture.stats();
    expect(handshakes).toBe(2);
    expect(requests.filter((action) => action === 'Command')).toHaveLength(2);
  },
);

winrmTest('a command that was begun on a session that is then refused is not begun again', async () => {
  const t = setup();
  await t.runWhole('exit 0');
  await host.fixture.mishap({ action: 'Command', what: '401' });
  expect((await t.run('exit 5')).end).toMatchObject({ how: 'lost', error: { kind: 'ambiguous' } });
  expect((await host.fixture.stats()).requests.filter((action) => action === 'Command')).toHaveLength(2);
});

winrmTest('requests to a shell other than the command itself are sent again on a new session', async () => {
  const t = setup();
  await t.runWhole('exit 0');
  for (const action of ['Receive', 'Delete', 'Create']) {
    await host.fixture.mishap({ action, what: '401' });
    expect((await t.runWhole('exit 6')).end).toEqual(exited(6));
  }
  const stop = new AbortController();
  await host.fixture.mishap({ action: 'Signal', what: '401' });
  const connections = t.of();
  const onOutput = () => stop.abort(new Error('stopped'));
  const { end } = await runOn(host.fixture, 'echo ready; sleep 1000', {
    connections,
    onOutput,
    signal: stop.signal,
  });
  expect(end).toMatchObject({ how: 'stopped', confirmed: true });
  await t.pool.close();
  expect((await host.fixture.stats()).shells).toBe(0);
});

winrmTest('a connection that the host closes at the moment it is used costs no command', async () => {
  const t = setup();
  await t.runWhole('exit 0');
  await host.fixture.mishap({ action: 'Create', what: 'drop' });
  expect((await t.run('exit 4')).end).toEqual(exited(4));
  // The first login of a command reveals the host's state.
  await t.pool.close();
  await host.fixture.mishap({ action: 'Create', what: 'drop' });
  await expect(t.run('exit 4')).rejects.toMatchObject({ kind: 'ambiguous' });
});

winrmTest('no more connections are kept than allowed, and none after the pool is closed', async () => {
  const t = setup({ maxIdlePerHost: 2, maxIdle: 3 });
  await Promise.all([1, 2, 3].map((n) => t.run(`exit ${n}`)));
  await t.pool.settled();
  expect(t.pool.idle).toBe(2);
  for (const owner of ['a', 'b']) await runOn(host.fixture, 'true', { connections: t.of(owner) });
  await t.pool.settled();
  expect(t.pool.idle).toBe(3);
  await t.pool.close();
  expect(t.pool.idle).toBe(0);
  await t.runWhole('exit 0');
  expect(t.pool.idle).toBe(0);
});

const hosts = 50;
/** Many names for the one host, because connections are kept by name. */
const addressesOf = async () => [host.fixture.host];

winrmTest(
  'fifty hosts at a time, with several commands each, keep no shell and share no connection',
  async () => {
    await host.fixture.reset({ maxShells: 2 * hosts });
    const t = setup();
    const onHost = async (name: string) => {
      const connections = t.of('1 1', { host: name, addressesOf });
      for (const code of [0, 1, 2]) {
        const { end, stdout } = await runOn(host.fixture, `echo ${name}; exit ${code}`, { connections });
        expect([end, stdout.toString()]).toEqual([exited(code), `${name}\n`]);
      }
    };
    await Promise.all(Array.from({ length: hosts }, (_, n) => onHost(`win-${n}.example`)));
    // Two for each host: one waits for output while the other carries what must not wait.
    expect(t.pool.idle).toBeLessThanOrEqual(2 * hosts);
    await t.pool.close();
    const { requests, ...counted } = await host.fixture.stats();
    expect(counted).toMatchObject({ shells: 0, refusals: [] });
    expect(requests.filter((action) => action === 'Command')).toHaveLength(3 * hosts);
    expect(counted.handshakes).toBeLessThanOrEqual(3 * hosts);
  },
);

winrmTest(
  'from fifty hosts that print faster than their output is stored, no more is read than is consumed',
  async () => {
    // A host that prints slowly is waited for, and not polled again.
    await host.fixture.reset({ maxShells: hosts, maxPollSeconds: 60 });
    const t = setup();
    const stop = new AbortController();
    // In an agent, each step has a signal of its own.
    setMaxListeners(0, stop.signal);
    const taken = new Map<string, number>();
    const running = Array.from({ length: hosts }, async (_, n) => {
      const name = `win-${n}.example`;
      let seen = () => {};
      const first = new Promise<void>((resolve) => {
        seen = resolve;
      });
      const run = runOn(host.fixture, 'head -c 400000 /dev/zero; exec sleep 1000', {
        connections: t.of('1 1', { host: name, addressesOf }),
        signal: stop.signal,
        killGraceMs: () => 0,
        // As if the agent's disk did not keep up: nothing more is taken until the command is stopped.
        onOutput: async (_stream, bytes) => {
          taken.set(name, (taken.get(name) ?? 0) + bytes.length);
          seen();
          if (!stop.signal.aborted)
            await new Promise((resolve) => stop.signal.addEventListener('abort', resolve, { once: true }));
        },
      });
      await first;
      return run;
    });
    await expect.poll(() => taken.size, patiently).toBe(hosts);
    const { requests } = await host.fixture.stats();
    expect(requests.filter((action) => action === 'Receive')).toHaveLength(hosts);
    // One reply for each, which fits into an envelope.
    expect(Math.max(...taken.values())).toBeLessThan(153_600);
    stop.abort(new Error('enough'));
    for (const run of running) expect((await run).end.how).toBe('stopped');
    await t.pool.close();
    expect(await host.fixture.stats()).toMatchObject({ shells: 0 });
  },
);

winrmTest('an unused connection is closed', async () => {
  const t = setup({ idleMs: 0 });
  await t.run('exit 0');
  await expect.poll(() => t.pool.idle, patiently).toBe(0);
});
