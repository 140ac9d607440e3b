import { expect, test } from 'vitest';
import { type DialEach, firstToAnswer } from './first-to-answer.ts';

function deferred() {
  let resolve: (address: string) => void = () => undefined;
  let reject: (error: Error) => void = () => undefined;
  const promise = new Promise<string>((...settle) => {
    [resolve, reject] = settle;
  });
  return { promise, resolve, reject };
}

/** Addresses that answer when the test says so. */
function setup(addresses: readonly string[], more: Partial<DialEach<string>> = {}) {
  const tried: string[] = [];
  const discarded: string[] = [];
  const signals = new Map<string, AbortSignal>();
  const answers = new Map(addresses.map((address) => [address, deferred()]));
  const dialling = firstToAnswer<string>({
    addresses,
    connect: (address, signal) => {
      tried.push(address);
      signals.set(address, signal);
      return answers.get(address)?.promise ?? Promise.reject(new Error('never asked'));
    },
    discard: (connection) => discarded.push(connection),
    signal: undefined,
    headStartMs: 0,
    ...more,
  });
  const answer = (address: string) => answers.get(address)?.resolve(address);
  const refuse = (address: string) => answers.get(address)?.reject(new Error(`${address} refused`));
  return { dialling, tried, discarded, signals, answer, refuse };
}

test('an address that stays silent does not delay the next one', async () => {
  const t = setup(['2001:db8::1', '192.0.2.1']);
  t.answer('192.0.2.1');
  expect(await t.dialling).toBe('192.0.2.1');
  expect(t.tried).toEqual(['2001:db8::1', '192.0.2.1']);
  expect(t.signals.get('2001:db8::1')?.aborted).toBe(true);
});

test('a connection that comes after another one is closed', async () => {
  const t = setup(['2001:db8::1', '192.0.2.1']);
  t.answer('192.0.2.1');
  await t.dialling;
  t.answer('2001:db8::1');
  await new Promise(setImmediate);
  expect(t.discarded).toEqual(['2001:db8::1']);
});

test('an address that answers at once is the only one tried', async () => {
  const t = setup(['2001:db8::1', '192.0.2.1'], { headStartMs: 60_000 });
  t.answer('2001:db8::1');
  expect(await t.dialling).toBe('2001:db8::1');
  expect(t.tried).toEqual(['2001:db8::1']);
});

test('after an address that refuses, the next one is tried at once', async () => {
  const t = setup(['2001:db8::1', '192.0.2.1'], { headStartMs: 60_000 });
  t.refuse('2001:db8::1');
  t.answer('192.0.2.1');
  expect(await t.dialling).toBe('192.0.2.1');
});

test('if none answers, the error is that of the last address, whichever failed last', async () => {
  const t = setup(['2001:db8::1', '192.0.2.1']);
  t.refuse('192.0.2.1');
  t.refuse('2001:db8::1');
  await expect(t.dialling).rejects.toThrow('192.0.2.1 refused');
  await expect(setup([]).dialling).rejects.toThrow('No address to dial');
});

test('an abort ends all attempts, and no other is started', async () => {
  const stop = new AbortController();
  const t = setup(['2001:db8::1', '192.0.2.1'], { headStartMs: 60_000, signal: stop.signal });
  stop.abort(new Error('stopped'));
  await expect(t.dialling).rejects.toThrow('stopped');
  t.refuse('2001:db8::1');
  await new Promise(setImmediate);
  expect(t.tried).toEqual(['2001:db8::1']);
  await expect(
    setup(['192.0.2.1'], { signal: AbortSignal.abort(new Error('never')) }).dialling,
  ).rejects.toThrow('never');
});
