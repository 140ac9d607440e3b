// Hosts under load: input that is answered late, or refused because the host is busy (ADR 0084).
import { expect } from 'vitest';
import { WinrmConnection } from '../connection/connection.ts';
import { hostOfFile, optionsFor, runOn, winrmTest } from '../testing/winrm-setup.ts';

const usual = { maxPollSeconds: 0.2, maxSendSeconds: 60, noProfiles: false };
const host = hostOfFile({ settings: usual });

const exited = (exitCode: number) => ({ how: 'exited', exitCode, outputMayLack: false });

const sends = async () => (await host.fixture.stats()).requests.filter((action) => action === 'Send');

winrmTest(
  'input that the host is slow to pass on is not lost: the end of its command is reported',
  async () => {
    await host.fixture.reset({ ...usual, maxSendSeconds: 0.1 });
    // More than a pipe holds.
    const { end, stdout } = await runOn(host.fixture, 'sleep 1; cat | wc -c; exit 6', {
      input: Buffer.alloc(100_000),
    });
    expect([end, stdout.toString().trim()]).toEqual([exited(6), '100000']);
    expect(await sends()).toHaveLength(1);
  },
);

winrmTest.for(['poll_again', 'winrs_timeout'])(
  'the last part of the input, if answered with the fault %s, may have arrived: it is not sent again',
  async (fault) => {
    await host.fixture.mishap({ action: 'Send', what: `fault:${fault}` });
    const { end } = await runOn(host.fixture, 'sleep 1; exit 6', { input: Buffer.from('x') });
    expect(end).toEqual(exited(6));
    expect(await sends()).toHaveLength(1);
  },
);

winrmTest('no more input is sent after a part that may not have arrived completely', async () => {
  await host.fixture.mishap({ action: 'Send', what: 'fault:poll_again' });
  const { end } = await runOn(host.fixture, 'cat; sleep 1000', { input: Buffer.alloc(200_000) });
  expect(end).toMatchObject({ how: 'lost', error: { kind: 'ambiguous' } });
  expect(await sends()).toHaveLength(1);
  expect(await host.fixture.stats()).toMatchObject({ shells: 0 });
});

winrmTest('input that a host refuses because it is busy is sent again until it is accepted', async () => {
  await host.fixture.mishap({ action: 'Send', what: 'fault:busy', times: 5 });
  const { end, stdout } = await runOn(host.fixture, 'cat; exit 6', { input: Buffer.from('once') });
  expect([end, stdout.toString()]).toEqual([exited(6), 'once']);
});

winrmTest(
  'input that a host was too busy for is sent again without waiting for a poll of the output',
  async () => {
    // As on Windows, a poll of a command that prints nothing because it has no input yet takes a minute.
    await host.fixture.reset({ ...usual, maxPollSeconds: 60 });
    await host.fixture.mishap({ action: 'Send', what: 'fault:busy', times: 2 });
    const { end, stdout } = await runOn(host.fixture, 'cat; exit 6', { input: Buffer.from('once') });
    expect([end, stdout.toString()]).toEqual([exited(6), 'once']);
  },
);

winrmTest('that a host says it is busy proves nothing if its certificate was not checked', async () => {
  await host.fixture.mishap({ action: 'Send', what: 'fault:busy' });
  const { end } = await runOn(host.fixture, 'cat; sleep 1000', {
    input: Buffer.from('x'),
    listener: 'https',
    connection: { tls: { insecure: true } },
  });
  expect(end).toMatchObject({ how: 'lost', error: { code: 170 } });
  expect(await sends()).toHaveLength(1);
});

winrmTest('a stop does not wait for a host that is busy', async () => {
  const stop = new AbortController();
  await host.fixture.mishap({ action: 'Send', what: 'fault:busy', times: 1_000 });
  const { end } = await runOn(host.fixture, 'echo ready; sleep 1000', {
    input: Buffer.from('x'),
    limits: { busyMs: 100_000 },
    signal: stop.signal,
    onOutput: () => stop.abort(new Error('stopped')),
  });
  expect(end).toMatchObject({ how: 'stopped', confirmed: true });
});

winrmTest(
  'a command whose input this machine can not send is lost, and nothing else ends with it',
  async () => {
    const noLogin = { addressesOf: () => Promise.reject(new Error('The system has no thread')) };
    let made = 0;
    const connections = {
      connect: () => {
        made += 1;
        // The second connection is the one for input.
        return new WinrmConnection(optionsFor(host.fixture, 'http', made === 2 ? noLogin : {}));
      },
      release: (connection: WinrmConnection) => connection.close(),
    };
    const { end } = await runOn(host.fixture, 'cat', { connections, input: Buffer.alloc(200_000) });
    expect(end).toMatchObject({
      how: 'lost',
      error: {
        kind: 'ambiguous',
        message: 'Its input could not be delivered completely: The system has no thread.',
      },
    });
    expect(await host.fixture.stats()).toMatchObject({ shells: 0 });
  },
);
