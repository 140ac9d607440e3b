import { subprotocol } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { FakeServer } from '../testing/fake-server.ts';
import { MessageSocket } from './message-socket.ts';

const patience = { timeoutMs: 60_000, maxBytes: 1_000 };

async function setup() {
  const server = await FakeServer.start();
  const socket = new MessageSocket(new WebSocket(`${server.url}/api/v1/agent/connect`, [subprotocol]));
  await socket.opened;
  return {
    socket,
    connection: await server.nextConnection(),
    async [Symbol.asyncDispose]() {
      socket.terminate();
      await server.stop();
    },
  };
}

test('whoever asks for a message of a connection that has ended is told at once, and does not wait for it', async () => {
  await using t = await setup();
  t.connection.close(1012);
  await t.socket.ended;
  await expect(t.socket.next(patience)).rejects.toThrow('The server closed the connection (1012)');
});

test('a message that came before the connection ended is still read', async () => {
  await using t = await setup();
  t.connection.send({ type: 'cancel', step: 1, epoch: 1 });
  t.connection.close(1012);
  await t.socket.ended;
  expect(await t.socket.next(patience)).toEqual({ type: 'cancel', step: 1, epoch: 1 });
  await expect(t.socket.next(patience)).rejects.toThrow('closed the connection');
});
