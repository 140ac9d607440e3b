// Attacks by those who have neither token nor key.
import { gzipSync } from 'node:zlib';
import { type Attack, delay, type Field, openLines, type Tally } from './attack.ts';
import { Line } from './line.ts';
import { fragment, frameHead, postHead, requestHead, upgradeHead } from './wire.ts';

/** Time limits for headers and requests, which are checked every few seconds; handshakes have less. */
const headersMs = 35_000;
const requestMs = 75_000;
const handshakeMs = 40_000;
const answerMs = 10_000;
/**
 * For attacks that fill buffers: with both ends on one machine, the system holds up to ten megabytes per connection.
 */
export const unreadConnections = 120;

export const strangers: Attack[] = [
  {
    name: 'headers byte by byte',
    boundMs: headersMs,
    run: (field) =>
      openLines(field, 500, (line) => {
        line.say('GET /api/v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ');
        line.drip('a', field.random.between(500, 2_000));
      }),
  },
  {
    name: 'idle connections',
    boundMs: headersMs,
    run: (field) => openLines(field, 4_000, () => undefined),
  },
  {
    name: 'sign-in with a body that never ends',
    boundMs: requestMs,
    run: (field) =>
      openLines(field, 1_000, (line) => {
        line.say(postHead('/api/v1/sign-in', 1_000_000));
        line.say(Buffer.alloc(990_000, 32));
        line.drip(' ', field.random.between(500, 2_000));
      }),
  },
  {
    name: 'bodies that are promised and never sent, from four addresses',
    boundMs: requestMs,
    run: (field) =>
      openLines(field, 1_600, (line) => line.say(postHead('/api/v1/sign-in', 16_384)), {
        addresses: ['127.0.0.2', '127.0.0.3', '127.0.0.4', '127.0.0.5'],
      }),
  },
  {
    name: 'headers of 64 KiB',
    boundMs: answerMs,
    run: (field) =>
      openLines(field, 500, (line) => line.say(requestHead('/', [`X-Long: ${'x'.repeat(65_536)}`]))),
  },
  {
    name: 'bodies of many gigabytes',
    boundMs: answerMs,
    run: (field) =>
      openLines(field, unreadConnections, (line, n) => {
        const length = n % 2 === 0 ? 8 * 1024 ** 3 : undefined;
        line.say(postHead('/api/v1/sign-in', length));
        line.pour(n % 2 === 0 ? Buffer.alloc(65_536, 32) : Buffer.from(`ffff\r\n${' '.repeat(65_535)}\r\n`));
      }),
  },
  {
    name: 'compressed bombs as bodies',
    boundMs: answerMs,
    run: (field) => {
      const bomb = gzipSync(Buffer.alloc(100_000_000, 32), { level: 9 });
      return openLines(field, 500, (line) => {
        line.say(postHead('/api/v1/sign-in', bomb.length, ['Content-Encoding: gzip']));
        line.say(bomb);
      });
    },
  },
  {
    name: 'pages that nobody reads',
    boundMs: undefined,
    run: (field) =>
      openLines(
        field,
        unreadConnections,
        (line, n) => {
          const path = ['/agent.mjs', '/api/v1/openapi.json', '/api/docs'][n % 3] ?? '/';
          line.say(requestHead(path).repeat(8));
        },
        { reads: false },
      ),
  },
  {
    name: 'WebSockets that say nothing, half a frame, or too much',
    boundMs: handshakeMs,
    run: (field) =>
      openLines(field, 1_200, (line, n) => {
        line.say(upgradeHead());
        if (n % 4 === 1) line.say(fragment('{"type":"auth', field.random));
        if (n % 4 === 2) line.say(frameHead(2 ** 40));
        if (n % 12 === 3) line.pour(Buffer.alloc(16_384, 1));
      }),
  },
  { name: 'connections that come and go', boundMs: undefined, run: churn },
  { name: '400 wrong tokens a second', boundMs: undefined, run: wrongTokens },
];

/** 200 a second, each closed as soon as it is open. */
async function churn(field: Field): Promise<Tally> {
  const lines: Line[] = [];
  for (const endMs = performance.now() + 12_000; performance.now() < endMs; ) {
    for (let n = 0; n < 10; n++) {
      const line = new Line(field.port);
      lines.push(line);
      line.socket.once('connect', () => {
        if (n % 2 === 0) line.say('GET / HT');
        line.socket.resetAndDestroy();
      });
    }
    await delay(50);
  }
  return { lines };
}

/** On 20 kept connections, each request with a different token. */
async function wrongTokens(field: Field): Promise<Tally> {
  const statuses = new Map<number, number>();
  const lines = Array.from({ length: 20 }, () => new Line(field.port));
  for (const { socket } of lines) {
    socket.on('data', (data) => {
      for (const [, status] of data.toString('latin1').matchAll(/HTTP\/1\.1 (\d{3}) /g))
        statuses.set(Number(status), (statuses.get(Number(status)) ?? 0) + 1);
    });
  }
  for (const endMs = performance.now() + 12_000; performance.now() < endMs; ) {
    for (const line of lines) {
      const token = `oct_${Array.from({ length: 43 }, () => field.random.pick([...'abcdefgh'])).join('')}`;
      line.say(requestHead('/api/v1/jobs', [`Authorization: Bearer ${token}`]));
    }
    await delay(50);
  }
  return { lines, statuses };
}
