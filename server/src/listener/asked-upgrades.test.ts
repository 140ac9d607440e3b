import { once } from 'node:events';
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { connect, type Socket } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { Listener } from './listener.ts';

async function setup(answer: RequestListener) {
  const listener = await Listener.start({ address: '127.0.0.1', port: 0 });
  onTestFinished(() => listener.close());
  const asked: (string | undefined)[] = [];
  listener.open((request, response) => {
    asked.push(request.url);
    answer(request, response);
  });
  listener.server.on('upgrade', (_request: IncomingMessage, socket: Socket) => socket.end('upgraded'));
  return {
    asked,
    /** Returns what is received until the server closes the connection. */
    async told(...parts: string[]): Promise<string> {
      const socket = connect(listener.port, '127.0.0.1');
      onTestFinished(() => void socket.destroy());
      await once(socket, 'connect');
      let all = '';
      socket.on('data', (data) => {
        all += data;
      });
      for (const part of parts) {
        if (part === '') await once(socket, 'data');
        else socket.write(part);
      }
      await once(socket, 'close');
      return all;
    },
  };
}

const echo: RequestListener = async (request, response) => {
  let body = '';
  for await (const piece of request) body += piece;
  response.end(`${request.method} ${request.url} ${body}`);
};
const next = 'GET /next HTTP/1.1\r\nHost: x\r\n\r\n';
const asking = (protocol: string, line = 'GET /first', more = '') =>
  `${line} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: ${protocol}\r\nHTTP2-Settings: AAMAAABk\r\n${more}\r\n`;
const toWebSocket = asking('WebSocket');

test.each(['h2c', 'TLS/1.2', 'h2c, websocket'])(
  'a request that would go on in %s if possible is answered, and its connection ends',
  async (protocol) => {
    const t = await setup(echo);
    expect(await t.told(asking(protocol))).toMatch(/^HTTP\/1\.1 200 .*connection: close.*GET \/first $/is);
  },
);

test('the body of such a request is read, even if it comes in pieces, and nothing after it', async () => {
  const t = await setup(echo);
  const told = await t.told(`${asking('h2c', 'POST /first', 'Content-Length: 10\r\n')}01234`, '56789', next);
  expect(told).toMatch(/^HTTP\/1\.1 200 .*POST \/first 0123456789$/s);
  expect(t.asked).toEqual(['/first']);
});

test('a switch to WebSocket is made, also on a connection that has had its answer', async () => {
  const t = await setup(echo);
  expect(await t.told(toWebSocket)).toBe('upgraded');
  expect(await t.told(next, '', toWebSocket)).toMatch(/^HTTP\/1\.1 200 .*upgraded$/s);
});

test('a switch to WebSocket is not made before earlier requests are answered: the answers would be in its stream', async () => {
  let asked = (_response: ServerResponse) => {};
  const isAsked = new Promise<ServerResponse>((resolve) => {
    asked = resolve;
  });
  const t = await setup((request, response) => {
    if (request.url === '/slow') asked(response);
    else void echo(request, response);
  });
  const told = t.told(`GET /slow HTTP/1.1\r\nHost: x\r\n\r\n${toWebSocket}GET /ne`, 'xt HTTP/1.1\r\n', next);
  (await isAsked).end('slow');
  expect(await told).toMatch(/^HTTP\/1\.1 200 .*slowHTTP\/1\.1 200 .*GET \/first $/s);
  expect(t.asked).toEqual(['/slow', '/first']);
});
