// What only a real connection shows: truncated bodies, the peer's address, and requests that name other hosts.
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { setImmediate } from 'node:timers/promises';
import { Closed } from '@opsconductor/protocol';
import { Type } from 'typebox';
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from 'vitest';
import { Listener } from '../listener/listener.ts';
import { createLog } from '../log.ts';
import { createApp } from './app.ts';
import { appListener } from './app-listener.ts';
import { readRequestFile } from './bodies/read-body.ts';
import { RequestLimits } from './request-limits.ts';
import { route } from './route.ts';

let server: Server;
let port: number;
let handled = 0;
const goodToken = 'a token that was good'.replaceAll(' ', '-');
const lookedUp: string[] = [];
const logged: Record<string, unknown>[] = [];
let onLogged = () => {};

beforeAll(async () => {
  const app = createApp({
    routes: [
      route({
        method: 'POST',
        path: '/api/v1/echo',
        permission: 'public',
        summary: 'Echo',
        tag: 'test',
        body: Closed({ text: Type.String() }),
        maxBodyBytes: 1_000,
        success: { status: 200, schema: Type.Object({ length: Type.Integer(), address: Type.String() }) },
        handle: ({ body, address }) => {
          handled++;
          return { length: body.text.length, address };
        },
      }),
      route({
        method: 'GET',
        path: '/api/v1/mine',
        permission: 'self',
        summary: 'Mine',
        tag: 'test',
        success: { status: 204 },
        handle: () => undefined,
      }),
    ],
    authenticator: {
      changes: 0,
      wasGood: (_via, token) => token === goodToken,
      bySession: async () => undefined,
      byApiToken: async (token) => {
        lookedUp.push(token);
        return undefined;
      },
      expiryOf: () => Promise.resolve(undefined),
      again: async () => undefined,
    },
    access: { hosts: ['ops.example'], origins: [], https: false, behindTlsProxy: false },
    cookieName: 'c',
    limits: new RequestLimits(() => new Date(0), { ofStranger: { burst: 20, refillMs: 1_000 } }),
    onForbidden: async () => {},
    checkReplies: true,
    log: createLog({
      level: 'debug',
      plain: false,
      destination: {
        write(line) {
          logged.push(JSON.parse(line));
          onLogged();
        },
      },
    }),
    probes: { notReady: async () => [], caPem: undefined, agentBundle: async () => '' },
    console: { answer: () => undefined },
  });
  server = createServer(appListener(app.fetch));
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  port = (server.address() as AddressInfo).port;
});
afterAll(async () => {
  server.closeAllConnections();
  await new Promise((done) => server.close(done));
});

/**
 * Sends raw bytes. Returns what was answered until the server closed the connection or the announced length was
 * complete.
 */
async function raw(...parts: string[]): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  let answer = '';
  for (const part of parts) socket.write(part);
  return new Promise((done, fail) => {
    socket.on('error', (error: NodeJS.ErrnoException) =>
      error.code === 'ECONNRESET' ? done(answer) : fail(error),
    );
    socket.on('close', () => done(answer));
    socket.on('data', (data) => {
      answer += data;
      const [head = '', body = ''] = answer.split('\r\n\r\n', 2);
      const length = /content-length: (\d+)/i.exec(head)?.[1];
      if (length !== undefined && Buffer.byteLength(body) >= Number(length)) socket.destroy();
    });
  });
}

const head = (more: string, host = `127.0.0.1`) =>
  `POST /api/v1/echo HTTP/1.1\r\nHost: ${host}\r\nContent-Type: application/json\r\n${more}\r\n`;

test('a body is read, and the address is that of the peer', async () => {
  const body = '{"text":"hello"}';
  const answer = await raw(head(`Content-Length: ${body.length}\r\nX-Forwarded-For: 6.6.6.6\r\n`), body);
  expect(answer).toContain('200 OK');
  expect(answer).toContain('{"length":5,"address":"127.0.0.1"}');
});

test('a body that announces too large a size is refused before it is sent', async () => {
  expect(await raw(head('Content-Length: 5000000\r\n'))).toContain('413 Payload Too Large');
});

test('a body of unannounced length is refused as soon as it is too long', async () => {
  const before = handled;
  const chunk = `1f4\r\n${' '.repeat(500)}\r\n`;
  expect(await raw(head('Transfer-Encoding: chunked\r\n'), chunk, chunk, chunk)).toContain(
    '413 Payload Too Large',
  );
  expect(handled).toBe(before);
});

test('the answer to a body that became too long still reaches the client, even after a delay', async () => {
  const answer = appListener(async (request) => {
    const refused = await readRequestFile(request, 1_000).catch(String);
    for (let turn = 0; turn < 10; turn += 1) await setImmediate();
    return new Response(String(refused), { status: 413 });
  });
  const listener = await Listener.start({ address: '127.0.0.1', port: 0 });
  onTestFinished(() => listener.close());
  listener.open(answer, () => ({ isKnown: false, name: '' }));
  const socket = connect(listener.port, '127.0.0.1');
  onTestFinished(() => void socket.destroy());
  const chunk = `1f4\r\n${' '.repeat(500)}\r\n`;
  socket.write(`${head('Transfer-Encoding: chunked\r\n')}${chunk}${chunk}${chunk}`);
  const [told] = await once(socket, 'data', { signal: AbortSignal.timeout(10_000) });
  expect(String(told)).toContain('413 Payload Too Large');
});

/** Resolves with the lines that are logged from now on, up to the end of a request. */
function answered(): Promise<Record<string, unknown>[]> {
  logged.length = 0;
  return new Promise((done) => {
    onLogged = () => {
      if (logged.some((line) => line.msg === 'request')) done([...logged]);
    };
  });
}

test.each([
  ['its length announced', 'Content-Length: 900\r\n', '{"text":"he'],
  ['its length not told', 'Transfer-Encoding: chunked\r\n', '1f4\r\n{"text":"he'],
])(
  'an upload with %s that the client breaks off is not logged as a server failure',
  async (_, length, part) => {
    const before = handled;
    const lines = answered();
    const arrived = once(server, 'request');
    const socket = connect(port, '127.0.0.1');
    socket.write(head(length) + part);
    await arrived;
    socket.resetAndDestroy();
    expect(await lines).toMatchObject([{ level: 'info', status: 400, path: '/api/v1/echo' }]);
    expect(handled).toBe(before);
  },
);

test('the host is read from where HTTP specifies it; additional names can be allowed', async () => {
  const body = '{"text":"hello"}';
  const length = `Content-Length: ${body.length}\r\n`;
  expect(await raw(head(length, 'ops.example:7700'), body)).toContain('200 OK');
  expect(await raw(head(length, 'evil.example'), body)).toContain('421 Misdirected Request');
  expect(await raw(`POST /api/v1/echo HTTP/1.1\r\n${length}\r\n${body}`)).toContain('400 Bad Request');
  expect(await raw(head(`${length}Host: 127.0.0.1\r\n`, 'evil.example'), body)).not.toContain('200 OK');
});

test.each([
  ['without Host', 'GET /api/v1/mine HTTP/1.0\r\n\r\n'],
  ['with a Host that is none', 'GET /api/v1/mine HTTP/1.1\r\nHost: a b/c\r\n\r\n'],
  ['with an URL that is none', 'GET http://[::1/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n'],
  ['with no path', 'OPTIONS * HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n'],
])('a request %s is refused in the form of the API’s errors', async (_, text) => {
  const [told = '', body = ''] = (await raw(text)).split('\r\n\r\n');
  expect(told).toContain('400 Bad Request');
  expect(told).toMatch(/content-type: application\/json/i);
  const { error } = JSON.parse(body);
  expect(error).toMatchObject({ code: 'invalid', message: expect.stringContaining('its header Host') });
  expect(told).toContain(error.requestId);
});

test('a small refused body may arrive long after its answer, and the connection stays open', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout'] });
  onTestFinished(() => void vi.useRealTimers());
  const socket = connect(port, '127.0.0.1');
  onTestFinished(() => void socket.destroy());
  const body = '{"text":"hello"}';
  let told = '';
  socket.on('data', (data) => {
    told += data;
  });
  socket.write(head(`Content-Length: 1000\r\nContent-Encoding: gzip\r\n`));
  await vi.waitFor(() => expect(told).toContain('415 Unsupported Media Type'), { timeout: 10_000 });
  for (let turn = 0; turn < 10; turn += 1) {
    await setImmediate();
    vi.advanceTimersByTime(1_000);
  }
  socket.write(`${' '.repeat(1_000)}${head(`Content-Length: ${body.length}\r\n`)}${body}`);
  await vi.waitFor(() => expect(told).toContain('{"length":5,'), { timeout: 10_000 });
});

test('a compressed body is refused, whatever its size', async () => {
  const answer = await raw(head('Content-Length: 2\r\nContent-Encoding: gzip\r\n'), '{}');
  expect(answer).toContain('415 Unsupported Media Type');
  expect(answer).toContain('send it as it is, without Content-Encoding');
});

// Must run last: it uses up the allowance of unknown callers.
test('an address that floods gets no more look-ups of wrong tokens; a known good token still works', async () => {
  const ask = (token: string) =>
    raw(`GET /api/v1/mine HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer ${token}\r\n\r\n`);
  const wrong = (n: number) => `oct_wrong-token-number-${n}`;
  lookedUp.length = 0;
  const answers = await Promise.all(Array.from({ length: 60 }, (_, n) => ask(wrong(n))));
  expect(lookedUp.length).toBeLessThanOrEqual(20);
  const refused = answers.filter((answer) => answer.includes('429 Too Many Requests')).length;
  const told = answers.filter((answer) => answer.includes('401 Unauthorized')).length;
  expect(refused).toBeGreaterThan(30);
  expect(refused + told).toBe(60);
  lookedUp.length = 0;
  expect(await ask(wrong(61))).toContain('429 Too Many Requests');
  expect(lookedUp).toEqual([]);
  await ask(goodToken);
  expect(lookedUp).toEqual([goodToken]);
});
