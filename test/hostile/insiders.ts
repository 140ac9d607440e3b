// Attacks by those who have a valid token or an agent's key.
import { deflateRawSync } from 'node:zlib';
import type { WebSocket } from 'ws';
import { performHandshake } from '../../agent/src/connection/handshake.ts';
import { MessageSocket } from '../../agent/src/connection/message-socket.ts';
import { socketOpener } from '../../agent/src/connection/open-socket.ts';
import { withoutProxy } from '../../agent/src/connection/proxy.ts';
import { dataDirectory } from '../../agent/src/identity/data-directory.ts';
import { readIdentity } from '../../agent/src/identity/identity.ts';
import { type Attack, delay, type Field, openLines, type Tally } from './attack.ts';
import { Line } from './line.ts';
import { unreadConnections } from './strangers.ts';
import { deflatedFrame, frameHead, postHead, requestHead } from './wire.ts';

const requestMs = 75_000;
/** A session that sends nothing is silent after 20 s, and is checked for every few seconds. */
const sessionMs = 40_000;

const bearer = ({ token }: Field) => `Authorization: Bearer ${token}`;

export const insiders: Attack[] = [
  {
    name: 'a token, and bodies that never end',
    boundMs: requestMs,
    run: (field) =>
      openLines(field, 600, (line) => {
        line.say(postHead('/api/v1/jobs', 1_000_000, [bearer(field)]));
        line.say(Buffer.alloc(990_000, 32));
        line.drip(' ', field.random.between(500, 2_000));
      }),
  },
  {
    name: 'a token, and answers that nobody reads',
    boundMs: undefined,
    run: (field) =>
      openLines(
        field,
        unreadConnections,
        (line) => line.say(requestHead('/api/v1/openapi.json', [bearer(field)]).repeat(4)),
        { reads: false },
      ),
  },
  {
    name: 'a token, and live streams that nobody reads',
    boundMs: undefined,
    run: async (field) => {
      const events = requestHead(`/api/v1/runs/${field.runId}/events?output=all`, [bearer(field)]);
      return openLines(field, unreadConnections, (line) => line.say(events), { reads: false });
    },
  },
  { name: 'a token, as fast as it is answered', boundMs: undefined, run: asFastAsAnswered },
  {
    name: 'an agent’s key, and frames that are too large, deflated, half, or many',
    boundMs: undefined,
    run: agents,
  },
];

/** On 16 connections, each sending the next request as soon as it is answered. */
async function asFastAsAnswered(field: Field): Promise<Tally> {
  const statuses = new Map<number, number>();
  const lines = Array.from({ length: 16 }, () => new Line(field.port));
  const request = requestHead('/api/v1/jobs?limit=50', [bearer(field)]);
  for (const line of lines) {
    line.say(request);
    line.socket.on('data', (data) => {
      for (const [, status] of data.toString('latin1').matchAll(/HTTP\/1\.1 (\d{3}) /g)) {
        statuses.set(Number(status), (statuses.get(Number(status)) ?? 0) + 1);
        line.say(request);
      }
    });
  }
  await delay(12_000);
  return { lines, statuses };
}

/** One session after another, because an agent has only one at a time; statuses are close codes. */
async function agents(field: Field): Promise<Tally> {
  const statuses = new Map<number, number>();
  const deeds: ((say: (data: Uint8Array) => void) => void)[] = [
    (say) => say(frameHead(2 ** 40)),
    (say) => say(deflatedFrame(deflateRawSync(Buffer.alloc(50_000_000, 32)))),
    (say) => {
      for (let n = 0; n < 64; n++) say(Buffer.concat([frameHead(4_000_000), Buffer.alloc(4_000_000, 32)]));
    },
    (say) => say(Buffer.concat([frameHead(4_000_000), Buffer.alloc(3_999_000, 32)])),
  ];
  for (const deed of deeds) {
    const code = await session(field, deed);
    statuses.set(code, (statuses.get(code) ?? 0) + 1);
  }
  return { lines: [], statuses };
}

async function session(field: Field, deed: (say: (data: Uint8Array) => void) => void): Promise<number> {
  const data = dataDirectory(field.agentDir);
  const identity = await readIdentity(data);
  const open = socketOpener({ server: `http://127.0.0.1:${field.port}`, ca: undefined, proxy: withoutProxy });
  const ws: WebSocket = open();
  const raw = new Promise<Line['socket']>((resolve) => ws.once('upgrade', ({ socket }) => resolve(socket)));
  const socket = new MessageSocket(ws);
  await socket.opened;
  await performHandshake(socket, {
    identity,
    signingPrivateKey: identity.signingPrivateKey,
    generationPath: data.generation,
    onAsked: () => undefined,
  });
  const stream = await raw;
  deed((bytes) => stream.writable && stream.write(bytes));
  const end = await Promise.race([socket.ended, delay(sessionMs)]);
  if (end === undefined) socket.terminate();
  // 1006: closed without a close frame; 0: not closed at all.
  return end === undefined ? 0 : (end.code ?? 1006);
}
