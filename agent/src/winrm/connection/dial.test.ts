import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { type DialOptions, dial } from './dial.ts';

/** What listens and never says anything, and how to dial it. */
async function silentHost(): Promise<{ sockets: Socket[]; accepted: Promise<Socket>; options: DialOptions }> {
  const sockets: Socket[] = [];
  const server = createServer((socket) => sockets.push(socket.on('error', () => undefined)));
  const accepted = once(server, 'connection').then(([socket]) => socket as Socket);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const options = {
    host: '127.0.0.1',
    port: (server.address() as AddressInfo).port,
    tls: undefined,
    connectTimeoutMs: 10_000,
    totalTimeoutMs: 30_000,
    addressesOf: async (name: string) => [name],
    signal: undefined,
  };
  return { sockets, accepted, options };
}

test('a connection that is reset while nobody uses it harms nobody', async () => {
  const { accepted, options } = await silentHost();
  const socket = await dial(options);
  const closed = new Promise((resolve) => {
    socket.once('close', resolve);
  });
  (await accepted).resetAndDestroy();
  await closed;
  expect(socket.destroyed).toBe(true);
});

test('dialling ends when it is no longer wanted', async () => {
  const { accepted, options } = await silentHost();
  const stop = new AbortController();
  const dialling = dial({ ...options, tls: {}, signal: stop.signal });
  await accepted;
  stop.abort(new Error('stopped'));
  await expect(dialling).rejects.toThrow('stopped');
});

test('many addresses do not make dialling last longer than it may in all', async () => {
  const { sockets, options } = await silentHost();
  const addressesOf = async () => Array.from({ length: 20 }, () => '127.0.0.1');
  const dialling = dial({ ...options, tls: {}, connectTimeoutMs: 20, totalTimeoutMs: 1, addressesOf });
  await expect(dialling).rejects.toMatchObject({ kind: 'connect_timed_out', notExecuted: true });
  expect(sockets.length).toBeLessThan(5);
});
