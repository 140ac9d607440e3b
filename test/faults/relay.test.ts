import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { Prng } from './prng.ts';
import { Relay } from './relay.ts';

/** A WebSocket through a relay; `heard` is what its server received. */
async function setup() {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
  await once(server, 'listening');
  const heard: string[] = [];
  server.on('connection', (socket) => socket.on('message', (data) => heard.push(String(data))));
  const passed: string[] = [];
  const relay = await Relay.start({
    targets: () => [(server.address() as AddressInfo).port],
    isFramed: true,
    onFrame: (direction, type, when) => {
      if (when === 'before' && type !== 'protocol') passed.push(`${direction} ${type}`);
    },
  });
  const client = new WebSocket(`ws://127.0.0.1:${relay.port}`);
  client.on('error', () => undefined);
  await once(client, 'open');
  onTestFinished(async () => {
    client.terminate();
    await relay.stop();
    for (const socket of server.clients) socket.terminate();
    server.close();
  });
  const send = (type: string, n: number) => client.send(JSON.stringify({ type, n, text: 'x'.repeat(n) }));
  return { server, relay, client, heard, passed, send };
}

const numbers = (heard: readonly string[]) => heard.map((text) => JSON.parse(text).n);

test('frames of any length pass whole, and are reported with their type', async () => {
  const { heard, passed, send, client } = await setup();
  for (const n of [1, 200, 70_000]) send('started', n);
  client.send(Buffer.alloc(300));
  await expect.poll(() => heard.length).toBe(4);
  expect(numbers(heard.slice(0, 3))).toEqual([1, 200, 70_000]);
  expect(passed).toEqual(['up started', 'up started', 'up started', 'up output']);
});

test('disturbed frames are duplicated, reordered or delayed, but stay whole', async () => {
  const { relay, heard, send } = await setup();
  relay.setTrouble(['up'], { duplicated: 100, random: new Prng(1) });
  send('started', 1);
  await expect.poll(() => numbers(heard)).toEqual([1, 1]);
  relay.setTrouble(['up'], { reordered: 100, random: new Prng(1) });
  send('started', 2);
  send('started', 3);
  await expect.poll(() => numbers(heard)).toEqual([1, 1, 3, 2]);
  relay.setTrouble(['up'], { delayMs: 30, random: new Prng(1) });
  for (const n of [4, 5, 6]) send('started', n);
  await expect.poll(() => numbers(heard)).toEqual([1, 1, 3, 2, 4, 5, 6]);
});

test('a silenced direction drops everything without notice until it is healed', async () => {
  const { relay, heard, send, client } = await setup();
  relay.silence(['up']);
  send('started', 1);
  client.ping();
  expect(heard).toEqual([]);
  relay.heal();
  await expect.poll(() => numbers(heard)).toEqual([1]);
});

test('if one side is gone, the other one hears nothing until the network is healed', async () => {
  const { relay, server, client } = await setup();
  relay.loseSide('server');
  const [socket] = server.clients;
  await expect.poll(() => socket?.readyState).toBe(WebSocket.CLOSED);
  expect(client.readyState).toBe(WebSocket.OPEN);
  relay.heal();
  await once(client, 'close');
});

test('a cut breaks existing connections and refuses new ones', async () => {
  const { relay, client } = await setup();
  relay.cut();
  await once(client, 'close');
  const refused = new WebSocket(`ws://127.0.0.1:${relay.port}`);
  const [error] = await once(refused, 'error');
  expect(error).toBeInstanceOf(Error);
});
