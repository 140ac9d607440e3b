// Hostile clients on real connections: what they occupy is bounded, and they are cut off in the end.
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { connect as connectTls } from 'node:tls';
import type { ErrorBody } from '@opsconductor/protocol';
import { expect, onTestFinished, test, vi } from 'vitest';
import { loadOrCreateServerTls } from '../tls/server-tls.ts';
import { answeredBodyLimits } from './answered-bodies.ts';
import { Listener, type ListenOptions } from './listener.ts';
import { UnreadAnswers } from './unread-answers.ts';

async function setup(answer: RequestListener, options: Partial<ListenOptions> = {}) {
  const listener = await Listener.start({ address: '127.0.0.1', port: 0, ...options });
  onTestFinished(() => listener.close());
  listener.open(answer);
  return {
    listener,
    /** Opens a connection that sends this; `told` is what it receives until it is closed. */
    async dial(text: string, ca?: string) {
      const at = { host: '127.0.0.1', port: listener.port };
      const socket = ca === undefined ? connect(at) : connectTls({ ...at, ca });
      socket.on('error', () => undefined);
      onTestFinished(() => void socket.destroy());
      await once(socket, ca === undefined ? 'connect' : 'secureConnect');
      socket.write(text);
      const told = (async () => {
        let all = '';
        for await (const piece of socket.iterator({ destroyOnReturn: false })) all += piece;
        return all;
      })().catch(() => '');
      return { socket, told };
    },
  };
}

const get = 'GET / HTTP/1.1\r\nHost: x\r\n\r\n';
const ok: RequestListener = (_request, response) => void response.end('ok');
const soon = { headersTimeout: 1, requestTimeout: 2, connectionsCheckingInterval: 1 };

test.each([
  ['nothing', ''],
  ['a part of its headers', 'GET / HTTP/1.1\r\nHost: x\r\nX-Slow: a'],
  ['a part of its body', 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf'],
])('a client that sends %s and no more is told that it took too long', async (_, text) => {
  const t = await setup(() => undefined, { slow: soon });
  const { told } = await t.dial(text);
  expect(await told).toMatch(/^HTTP\/1\.1 408 /);
});

test('of many clients that took too long, some are ended, then others have a turn', async () => {
  const t = await setup(() => undefined, { slow: { ...soon, connectionsCheckingInterval: 300 } });
  const sockets: Socket[] = [];
  t.listener.server.on('connection', (socket) => sockets.push(socket));
  const silent = await Promise.all(Array.from({ length: 100 }, () => t.dial('')));
  let [ended, most] = [0, 0];
  while (ended < silent.length) {
    await setImmediate();
    const now = sockets.filter((socket) => socket.destroyed).length;
    most = Math.max(most, now - ended);
    ended = now;
  }
  expect(most).toBeLessThan(20);
  for (const { told } of silent) expect(await told).toMatch(/^HTTP\/1\.1 408 /);
});

const half = 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf';
const okWhenRead: RequestListener = (request, response) =>
  void request.resume().once('end', () => ok(request, response));

const toUpgrade = 'GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n';

test.each([
  ['its request', '', get],
  ['the rest of its body', half, 'other.'],
  ['a switch to another protocol', '', toUpgrade],
])(
  'of many clients that took too long, one that sends %s before it is ended is answered',
  async (_, before, after) => {
    const t = await setup(okWhenRead);
    t.listener.server.on('upgrade', (_request, socket: Socket) => {
      socket.once('end', () => socket.end('HTTP/1.1 200 OK\r\n\r\nother protocol: ok'));
    });
    const sockets: Socket[] = [];
    t.listener.server.on('connection', (socket) => sockets.push(socket));
    for (let n = 0; n < 200; n++) await t.dial('');
    const request = once(t.listener.server, 'request');
    const { socket, told } = await t.dial(before);
    if (before !== '') await request;
    await vi.waitFor(() => expect(sockets).toHaveLength(201), { timeout: 10_000 });
    // As Node reports each of them when it checks connections.
    const error = Object.assign(new Error('Request timeout'), { code: 'ERR_HTTP_REQUEST_TIMEOUT' });
    for (const each of sockets) each.emit('error', error);
    socket.write(after);
    await vi.waitFor(() => expect(sockets.filter((each) => each.destroyed)).toHaveLength(200), {
      timeout: 10_000,
    });
    socket.end();
    expect(await told).toMatch(/^HTTP\/1\.1 200 .*ok$/s);
  },
);

/** Splits an answer with a declared length into its status, its headers in lower case, and its body. */
function parseAnswer(told: string) {
  const [head = '', body = ''] = told.split('\r\n\r\n');
  const [first = '', ...lines] = head.split('\r\n');
  const headers = new Map(lines.map((line) => [line.split(': ')[0]?.toLowerCase(), line.split(': ')[1]]));
  expect(headers.get('content-length')).toBe(String(Buffer.byteLength(body)));
  return { status: Number(first.split(' ')[1]), headers, error: (JSON.parse(body) as ErrorBody).error };
}

test.each([
  [
    'has headers that are too long',
    `GET / HTTP/1.1\r\nX-Long: ${'x'.repeat(20_000)}\r\n\r\n`,
    431,
    'too_large',
  ],
  ['expects what nobody does', 'GET / HTTP/1.1\r\nHost: x\r\nExpect: miracles\r\n\r\n', 417, 'invalid'],
  ['is not HTTP', 'HELLO\r\n\r\n', 400, 'invalid'],
])('a request that %s is refused in the form of the API’s errors', async (_, text, status, code) => {
  const asked = vi.fn();
  const t = await setup(asked);
  const { socket, told } = await t.dial(text);
  socket.end();
  const answer = parseAnswer(await told);
  expect(answer).toMatchObject({ status, error: { code, message: expect.stringMatching(/\.$/) } });
  expect(answer.error.requestId).toBe(answer.headers.get('x-request-id'));
  expect(answer.headers.get('content-type')).toBe('application/json');
  expect(asked).not.toHaveBeenCalled();
});

test('a refused expectation is answered in its turn, and the connection goes on', async () => {
  const held: ServerResponse[] = [];
  const t = await setup((request, response) => {
    if (request.url === '/') held.push(response);
    else response.end(`at ${request.url}`);
  });
  const strange = 'GET /strange HTTP/1.1\r\nHost: x\r\nExpect: miracles\r\n\r\n';
  const { socket, told } = await t.dial(get + strange + get.replace('/', '/third'));
  await vi.waitFor(() => expect(held).toHaveLength(1), { timeout: 10_000 });
  held[0]?.end('first');
  socket.end();
  expect(await told).toMatch(/^HTTP\/1\.1 200 .*first.*HTTP\/1\.1 417 .*HTTP\/1\.1 200 .*at \/third$/s);
});

test('pipelined requests on one connection are answered one after the other', async () => {
  const held: ServerResponse[] = [];
  const asked = vi.fn((request: IncomingMessage, response: ServerResponse) => {
    if (request.url === '/') held.push(response);
    else response.end(request.url);
  });
  const t = await setup(asked);
  const { socket, told } = await t.dial(get + get.replace('/', '/second') + get.replace('/', '/third'));
  await vi.waitFor(() => expect(held).toHaveLength(1), { timeout: 10_000 });
  expect(asked).toHaveBeenCalledTimes(1);
  held[0]?.end('first');
  await vi.waitFor(() => expect(asked).toHaveBeenCalledTimes(3), { timeout: 10_000 });
  socket.end();
  expect(await told).toMatch(/first.*\/second.*\/third$/s);
});

test('a client that keeps sending requests before the first is answered is cut off, and none of them is kept', async () => {
  const asked = vi.fn();
  const t = await setup(asked);
  const { told } = await t.dial(get.repeat(50_000));
  expect(await told).toBe('');
  expect(asked).toHaveBeenCalledTimes(1);
});

test('requests of one caller beyond the limit are told to come again, and nobody else’s', async () => {
  const t = await setup(ok, { mostWaiting: 3 });
  t.listener.open(ok, ({ headers }) => ({ isKnown: true, name: String(headers['x-name']) }));
  const ask = (name: string) => `${get.trimEnd()}\r\nConnection: close\r\nX-Name: ${name}\r\n\r\n`;
  const connected = vi.fn();
  t.listener.server.on('connection', connected);
  const many = await Promise.all(Array.from({ length: 50 }, () => t.dial('')));
  const other = await t.dial('');
  await vi.waitFor(() => expect(connected).toHaveBeenCalledTimes(51), { timeout: 10_000 });
  // All arrive in one turn of the loop.
  for (const { socket } of many) socket.write(ask('mallory'));
  other.socket.write(ask('ada'));
  const told = await Promise.all(many.map((each) => each.told));
  const isOk = (text: string) => /^HTTP\/1\.1 200 .*ok$/s.test(text);
  const isSentAway = (text: string) => /^HTTP\/1\.1 503 .*^Retry-After: 1\r$/ms.test(text);
  expect(told.filter(isOk).length).toBeGreaterThanOrEqual(3);
  expect(told.filter(isSentAway).length).toBeGreaterThan(30);
  expect(told.every((text) => isOk(text) || isSentAway(text))).toBe(true);
  expect(isOk(await other.told)).toBe(true);
});

test('strangers, however many, are answered after a known caller', async () => {
  const begun: string[] = [];
  const held: ServerResponse[] = [];
  const t = await setup(ok);
  const answer: RequestListener = (request, response) => {
    const name = String(request.headers['x-name']);
    begun.push(name);
    if (name === 'ada') held.push(response);
    else ok(request, response);
  };
  t.listener.open(answer, ({ headers }) => ({ isKnown: headers['x-name'] === 'ada', name: 'x' }));
  const requested = vi.fn();
  t.listener.server.on('request', requested);
  const ask = (name: string) => `${get.trimEnd()}\r\nConnection: close\r\nX-Name: ${name}\r\n\r\n`;
  // No time passes, or the request would count as waiting for something slow.
  vi.useFakeTimers({ toFake: ['setTimeout', 'performance'] });
  onTestFinished(() => void vi.useRealTimers());
  const ada = await t.dial(ask('ada'));
  await until(() => held.length === 1);
  const strangers = await Promise.all(Array.from({ length: 50 }, () => t.dial(ask('mallory'))));
  await until(() => requested.mock.calls.length === 51);
  for (let n = 0; n < 50; n++) await setImmediate();
  expect(begun.length).toBeLessThan(6);
  // A load balancer behind the address of all of them must not give up the server.
  const probe = await t.dial(ask('probe').replace(/^GET \S+/, 'GET /readyz'));
  expect(await probe.told).toMatch(/^HTTP\/1\.1 200 /);
  expect(begun.filter((name) => name === 'mallory').length).toBeLessThan(6);
  held[0]?.end('ok');
  for (const { told } of [ada, ...strangers]) expect(await told).toMatch(/^HTTP\/1\.1 200 .*ok$/s);
});

/** Works even while time stands still. */
async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await setImmediate();
}

const refuse: RequestListener = (_request, response) => void response.writeHead(413).end('too large');
/** Refuses once it has seen some of the body. */
const refuseRead: RequestListener = (request, response) =>
  void request.once('data', () => refuse(request, response));
const postHead = (length: number) => `POST / HTTP/1.1\r\nHost: x\r\nContent-Length: ${length}\r\n\r\n`;

async function newTls() {
  const directory = await mkdtemp(join(tmpdir(), 'hostile-'));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  return loadOrCreateServerTls({ directory, hostNames: ['localhost'] });
}

test.each([
  ['', async () => undefined],
  [' over TLS', newTls],
])('a client that sends a whole refused body before reading the answer is answered%s', async (_, tlsOf) => {
  const tls = await tlsOf();
  const t = await setup(refuse, {
    tls,
    bodies: { ...answeredBodyLimits, mostBytes: 9_000_000, endAfterMs: 600_000 },
  });
  const { socket, told } = await t.dial(postHead(9_000_000), tls?.caPem);
  // More than the system buffers by itself.
  const error = await new Promise((resolve) => socket.write(Buffer.alloc(9_000_000), resolve));
  expect(error ?? undefined).toBeUndefined();
  expect(await told).toMatch(/^HTTP\/1\.1 413 .*too large/s);
});

const says = /^connection: close\r$/im;

test.each([
  ['a long one', postHead(65_537)],
  [
    'one that does not say how long it is',
    'POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n',
  ],
])('the answer to a body that is still to come, %s, says that the connection ends', async (_, head) => {
  const t = await setup(refuse);
  const { told } = await t.dial(head);
  expect(await told).toMatch(says);
});

test.each([
  ['to no body', ok, get, ''],
  ['to a small one that is still to come', refuse, postHead(65_536), ' '.repeat(65_536)],
  ['to a long one that was read', okWhenRead, `${postHead(100_000)}${' '.repeat(100_000)}`, ''],
])('the answer %s does not say that the connection ends', async (_, answer, text, rest) => {
  const t = await setup(answer);
  const { socket, told } = await t.dial(text);
  await once(socket, 'readable');
  socket.end(rest);
  expect(await told).toMatch(/^HTTP\/1\.1 /);
  expect(await told).not.toMatch(says);
});

test('a body that ends while it is being answered leaves no connection behind', async () => {
  const t = await setup((request, response) => {
    response.writeHead(200).write('so far');
    request.resume().once('end', () => response.end(', and the end'));
  });
  const { socket, told } = await t.dial(postHead(100_000));
  await once(socket, 'readable');
  socket.write(' '.repeat(100_000));
  expect(await told).toMatch(/connection: close.*and the end/is);
});

test('a small body may arrive after its answer, and the next request on the connection is answered', async () => {
  const t = await setup(refuse);
  const { socket, told } = await t.dial(postHead(1_000));
  await once(socket, 'readable');
  socket.end(`${' '.repeat(1_000)}${get}`);
  expect((await told).match(/too large/g)).toHaveLength(2);
});

const slow = { mostBytes: 1_000_000, bytesATime: 65_536, everyMs: 10, endAfterMs: 500 };

test.each([
  ['refused', refuse],
  ['read in part', refuseRead],
])('of a body that is %s and continues, only a limited amount is read', async (_, answer) => {
  const t = await setup(answer, { bodies: { ...slow, bytesATime: 1_000_000 } });
  const read = bytesRead(t.listener);
  const { socket } = await t.dial(postHead(100_000_000));
  socket.write(Buffer.alloc(20_000_000));
  expect(await read(1)).toBeLessThan(2_000_000);
});

test.each([
  ['refused', refuse],
  ['read in part', refuseRead],
])('of many bodies that are %s, no more is read at a time than of one', async (_, answer) => {
  const t = await setup(answer, { bodies: slow });
  const read = bytesRead(t.listener);
  const beganMs = performance.now();
  for (let n = 0; n < 20; n++) {
    const { socket } = await t.dial(postHead(100_000_000));
    socket.write(Buffer.alloc(2_000_000));
  }
  const bytes = await read(20);
  const turns = (performance.now() - beganMs) / slow.everyMs;
  // What arrives before the refusal, and what the pace would let through of one.
  expect(bytes).toBeLessThan(20 * 300_000 + turns * slow.bytesATime * 2);
});

test('nothing more of refused bodies is read before their turn', async () => {
  const t = await setup(refuse, { bodies: { ...slow, everyMs: 600_000 } });
  const read = bytesRead(t.listener);
  for (let n = 0; n < 20; n++) {
    const { socket } = await t.dial(postHead(100_000_000));
    socket.write(Buffer.alloc(2_000_000));
  }
  // One piece each, which may arrive with the headers.
  expect(await read(20)).toBeLessThan(20 * 70_000);
});

/** Returns how many bytes were read from this many connections in total, once they have ended. */
function bytesRead({ server }: Listener): (count: number) => Promise<number> {
  const ended: Promise<number>[] = [];
  server.on('connection', (socket) => {
    ended.push(once(socket, 'close').then(() => socket.bytesRead));
  });
  return async (count) => {
    await vi.waitFor(() => expect(ended).toHaveLength(count), { timeout: 20_000 });
    return (await Promise.all(ended)).reduce((sum, bytes) => sum + bytes, 0);
  };
}

/** Simulated answers: how much of each is waiting, and from which address. */
function answers(...all: (number | [waiting: number, remoteAddress: string])[]) {
  return all.map((each) => {
    const [waiting, remoteAddress] = typeof each === 'number' ? [each, '192.0.2.1'] : each;
    const socket = { remoteAddress, bytesWritten: waiting, writableLength: waiting, destroy: vi.fn() };
    const answer = {
      writableLength: waiting,
      once: () => undefined,
      req: { socket },
      /** This many bytes are taken, and others are given to be sent. */
      move(taken: number, given = 0) {
        answer.writableLength += given - taken;
        socket.bytesWritten += given;
        socket.writableLength += given - taken;
      },
    };
    return answer;
  });
}

function watching(all: ReturnType<typeof answers>) {
  const unread = new UnreadAnswers({
    maxBytes: 100,
    bytesPatienceMs: 10,
    maxStalled: 3,
    countPatienceMs: 50,
    mostStalledMs: 1_000,
  });
  onTestFinished(() => unread.close());
  for (const answer of all) unread.watch(answer as unknown as ServerResponse);
  unread.look(1);
  const cutOff = () => all.map(({ req }) => req.socket.destroy.mock.calls.length > 0);
  return { look: (ms: number) => unread.look(ms), cutOff };
}

test('if too much is untaken, the client that has taken nothing for longest is cut off', () => {
  const all = answers(60, 60, 30, 0);
  const { look, cutOff } = watching(all);
  look(5);
  expect(cutOff()).toEqual([false, false, false, false]);
  all[0]?.move(10);
  look(11);
  expect(cutOff()).toEqual([false, true, false, false]);
});

test('of many clients that take nothing, some are cut off, however little they hold, but none that takes something now and then', () => {
  const all = answers(1, 1, 5, 1, 1);
  const { look, cutOff } = watching(all);
  look(50);
  expect(cutOff()).toEqual([false, false, false, false, false]);
  all[2]?.move(1);
  look(51);
  expect(cutOff()).toEqual([true, false, false, false, false]);
});

test('the client that is cut off belongs to the address that holds most of the untaken bytes', () => {
  const flood = '198.51.100.7';
  const all = answers([10, '192.0.2.1'], [40, flood], [40, flood], [10, '192.0.2.2'], [10, '192.0.2.2']);
  const { look, cutOff } = watching(all);
  look(11);
  expect(cutOff()).toEqual([false, true, false, false, false]);
  const many = answers(
    [1, '2001:db8::1'],
    [1, '192.0.2.1'],
    [1, '2001:db8::2'],
    [1, '::ffff:192.0.2.3'],
    [1, '2001:db8::3'],
  );
  const other = watching(many);
  other.look(51);
  expect(other.cutOff()).toEqual([true, false, true, false, false]);
});

test('a client that takes nothing is cut off in the end, even if there is room, and even if more and more waits for it', () => {
  const all = answers(10, 0, 1);
  const { look, cutOff } = watching(all);
  all[2]?.move(0, 5);
  look(1_000);
  expect(cutOff()).toEqual([false, false, false]);
  look(1_001);
  expect(cutOff()).toEqual([true, false, true]);
});
