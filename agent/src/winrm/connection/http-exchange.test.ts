import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { exchange, OneSocketAgent } from './http-exchange.ts';

/** Posts one request to a host that answers with this, and returns the reply. */
async function answeredWith(answer: string) {
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', () => socket.write(answer));
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  const agent = new OneSocketAgent(async () => {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => {});
    await once(socket, 'connect');
    return socket;
  });
  onTestFinished(() => {
    agent.destroy();
    server.close();
  });
  const body = Buffer.from('x');
  const where = { agent, host: '127.0.0.1', port, path: '/wsman' };
  return exchange({
    ...where,
    headers: {},
    body,
    timeoutMs: 60_000,
    maxReplyBytes: 1_000,
    signal: undefined,
  });
}

test.each([
  'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n',
  'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nmore',
])('a reply that switches protocols ends the request at once', async (answer) => {
  await expect(answeredWith(answer)).rejects.toMatchObject({ kind: 'protocol', notExecuted: false });
});

test('a reply is read whole', async () => {
  const { status, body } = await answeredWith('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
  expect({ status, text: body.toString() }).toEqual({ status: 200, text: 'ok' });
});
