import { randomBytes } from 'node:crypto';
import { EventEmitter } from 'node:events';
import { gzipSync } from 'node:zlib';
import {
  type AgentMessage,
  closeCodes,
  encodeFrame,
  type Lease,
  limits,
  type OutputFrame,
  type ServerMessage,
} from '@opsconductor/protocol';
import { expect, onTestFinished, test, vi } from 'vitest';
import type { WebSocket } from 'ws';
import { createLog } from '../../log.ts';
import type { ClaimedStep } from '../../store/queue/claims/claims.ts';
import { CheckpointTurns } from '../checkpoint-turns.ts';
import { AgentLink, type LinkDeps, type LinkEvents } from './agent-link.ts';

const nothingStored = { ackedSeq: 0, outputBytes: 0 };
/** An attempt that the agent holds. */
const held = {
  stepId: 3,
  epoch: 1,
  leaseToken: 'a'.repeat(32),
  runId: 1,
  targetRunId: 2,
  stepNumber: 1,
  attemptDay: '',
};

/** The server's end of a connection, with what was sent on it and what it reported. */
function openLink() {
  const sent: ServerMessage[] = [];
  const socket = Object.assign(new EventEmitter(), {
    OPEN: 1,
    readyState: 1,
    bufferedAmount: 0,
    send: (text: string) => sent.push(JSON.parse(text) as ServerMessage),
    isPaused: false,
    pause: () => {
      socket.isPaused = true;
    },
    resume: () => {
      socket.isPaused = false;
    },
    close: (code: number, reason: string) => Object.assign(socket, { readyState: 2, code, reason }),
    terminate: () => {
      socket.readyState = 3;
    },
  });
  const stream = Object.assign(new EventEmitter(), { cork: () => {}, uncork: () => {}, bytesRead: 0 });
  const read = (bytes: number) => {
    stream.bytesRead += bytes;
    stream.emit('data');
  };
  const agent = { agentId: 1, name: 'first', segmentId: 1, sessionNumber: 7, address: '127.0.0.1' };
  const told: number[] = [];
  const stored: number[] = [];
  /** Number of host keys reported; the work on each waits for the promise under its number here. */
  const keys = { seen: 0, waits: new Map<number, Promise<void>>() };
  const events = {
    started: (_, { step }) => told.push(step),
    hostKeySeen: async () => {
      keys.seen += 1;
      await keys.waits.get(keys.seen);
    },
  } as Partial<LinkEvents>;
  const writer = { queuedBytes: 0, push: (_, { seq }) => stored.push(seq) } as LinkDeps['writer'];
  const deps = { events, writer, log: createLog({ level: 'silent', plain: false }) } as LinkDeps;
  const link = new AgentLink(deps, socket as unknown as WebSocket, agent, stream);
  const hear = (message: AgentMessage) => socket.emit('message', Buffer.from(JSON.stringify(message)), false);
  const hearFrame = (frame: OutputFrame) => socket.emit('message', Buffer.from(encodeFrame(frame)), true);
  return { link, socket, sent, told, stored, keys, hear, hearFrame, read };
}

test('an agent hears nothing before its journal is answered, and then everything that was to be said meanwhile', () => {
  const { link, sent } = openLink();
  // Its session can be claimed for as soon as it is committed, which is before this server knows.
  link.lease([{ claimed: { id: 3, epoch: 1 } as ClaimedStep, lease: { step: 3, epoch: 1 } as Lease }]);
  link.send({ type: 'cancel', step: 3, epoch: 1 });
  expect(sent).toEqual([]);
  link.ready({ type: 'resumed', attempts: [] });
  expect(sent.map(({ type }) => type)).toEqual(['resumed', 'leases', 'cancel']);
  link.send({ type: 'heartbeat_ack', sequence: 1 });
  expect(sent).toHaveLength(4);
});

test('reports about attempts that an agent does not hold are ignored', () => {
  const { link, told, hear } = openLink();
  link.adopt([{ ...held, ...nothingStored }]);
  hear({ type: 'started', step: 4, epoch: 1, leaseToken: held.leaseToken, survives: false });
  hear({ type: 'started', step: 3, epoch: 1, leaseToken: 'b'.repeat(32), survives: false });
  expect(told).toEqual([]);
  hear({ type: 'started', step: 3, epoch: 1, leaseToken: held.leaseToken });
  expect(told).toEqual([3]);
});

test('an agent that doesn’t read what it is sent is disconnected, and no more is kept for it', () => {
  const { link, socket, sent } = openLink();
  link.ready({ type: 'resumed', attempts: [] });
  socket.bufferedAmount = 64 * 1024 * 1024;
  link.send({ type: 'heartbeat_ack', sequence: 1 });
  socket.bufferedAmount += 1;
  link.send({ type: 'heartbeat_ack', sequence: 2 });
  link.send({ type: 'heartbeat_ack', sequence: 3 });
  expect(sent).toHaveLength(2);
  expect(socket.readyState).not.toBe(socket.OPEN);
});

test('an agent that sends more than is handled is not read from until half of it is handled', async () => {
  const { socket, keys, hear } = openLink();
  const open: (() => void)[] = [];
  for (const nth of [1, 2_049]) keys.waits.set(nth, new Promise((resolve) => open.push(resolve)));
  const seen: AgentMessage = { type: 'host_key_seen', targetId: 1, hostKey: 'x'.repeat(100) };
  for (let n = 0; n < 4_096; n += 1) hear(seen);
  expect(socket.isPaused).toBe(false);
  hear(seen);
  expect(socket.isPaused).toBe(true);
  open[0]?.();
  await vi.waitFor(() => expect(keys.seen).toBe(2_049), { timeout: 10_000 });
  expect(socket.isPaused).toBe(true);
  open[1]?.();
  await vi.waitFor(() => expect(socket.isPaused).toBe(false), { timeout: 10_000 });
});

test('an agent that sends more output than is kept of an attempt is cut off, even after it reconnected', () => {
  const { link, socket, stored, hearFrame } = openLink();
  // Each chunk counts 16 bytes more than its length.
  link.adopt([{ ...held, ackedSeq: 9, outputBytes: 2 * limits.maxOutputBytesPerAttempt - 10 * 16 - 50 }]);
  const of = { stream: 'stdout', step: 3, epoch: 1, elapsedMs: 0 } as const;
  hearFrame({ ...of, seq: 10, rawLength: 40, bytes: gzipSync(Buffer.alloc(40)) });
  // A chunk that is sent again doesn't count twice.
  hearFrame({ ...of, seq: 10, rawLength: 40, bytes: gzipSync(Buffer.alloc(40)) });
  expect(socket.readyState).toBe(socket.OPEN);
  hearFrame({ ...of, seq: 11, rawLength: 1, bytes: gzipSync('x') });
  expect(stored).toEqual([10, 10]);
  expect(socket).toMatchObject({ readyState: 2, reason: 'more output than is kept of an attempt' });
});

test.each<[string, number, Buffer]>([
  ['more than it states', 1, gzipSync(Buffer.alloc(100_000))],
  ['less than it states', 100_000, gzipSync('x')],
  [
    'of the length at its end that it states, but far longer',
    4,
    Buffer.concat([gzipSync(randomBytes(9_000)), Buffer.from([4, 0, 0, 0])]),
  ],
  ['no gzip', 18, Buffer.alloc(18)],
])(
  'an agent that sends a chunk which is %s is shut off, and nothing of it is stored',
  (_, rawLength, bytes) => {
    const { link, socket, stored, hearFrame } = openLink();
    link.adopt([{ ...held, ...nothingStored }]);
    hearFrame({ stream: 'stdout', step: 3, epoch: 1, elapsedMs: 0, seq: 1, rawLength, bytes });
    expect(stored).toEqual([]);
    expect(socket).toMatchObject({ readyState: 2, reason: 'output of another length than stated' });
  },
);

test('an agent is given checkpoints even if the wall clock was set back', async () => {
  const { link, sent } = openLink();
  link.ready({ type: 'resumed', attempts: [] });
  const message = { type: 'audit_checkpoint' as const, from: 0, note: 'note', proof: [] };
  const offer = { size: 3, message };
  const turns = new CheckpointTurns({ feed: { offer: async () => offer }, agents: () => 0 });
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() - 3_600_000 });
  try {
    await turns.heard(link, 0);
  } finally {
    vi.useRealTimers();
  }
  expect(sent.at(-1)).toEqual(message);
});

test('an agent is not called silent because the wall clock was set', () => {
  const { link, hear } = openLink();
  hear({ type: 'started', step: 4, epoch: 1, leaseToken: 'a'.repeat(32) });
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 3_600_000 });
  try {
    expect(link.silentMs).toBeLessThan(600_000);
  } finally {
    vi.useRealTimers();
  }
});

test('nothing that an agent says after its connection was closed is handled, and little is read', () => {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  const { link, socket, told, hear, read } = openLink();
  const leaseToken = 'a'.repeat(32);
  link.adopt([
    {
      stepId: 3,
      epoch: 1,
      leaseToken,
      runId: 1,
      targetRunId: 2,
      stepNumber: 1,
      attemptDay: '',
      ...nothingStored,
    },
  ]);
  socket.emit('message', Buffer.from('no JSON'), false);
  expect(socket).toMatchObject({ readyState: 2, code: closeCodes.invalidMessage });
  hear({ type: 'started', step: 3, epoch: 1, leaseToken });
  expect(told).toEqual([]);
  read(256 * 1024);
  expect(socket.isPaused).toBe(false);
  read(1);
  expect(socket.isPaused).toBe(true);
  // It has a moment to read the reason.
  expect(socket.readyState).toBe(2);
  vi.advanceTimersByTime(500);
  expect(socket.readyState).toBe(3);
});

test('an agent that does not answer the close is not waited for', () => {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  const { link, socket } = openLink();
  link.close(closeCodes.replaced, 'another one came');
  vi.advanceTimersByTime(4_999);
  expect(socket.readyState).toBe(2);
  vi.advanceTimersByTime(1);
  expect(socket.readyState).toBe(3);
});

test('messages that wait to be handled are dropped when the connection is closed, and the answer is read', async () => {
  const { socket, keys, hear } = openLink();
  let handled = () => {};
  keys.waits.set(1, new Promise((resolve) => (handled = resolve)));
  for (let n = 0; n < 4_097; n += 1) hear({ type: 'host_key_seen', targetId: 1, hostKey: 'x' });
  await vi.waitFor(() => expect(keys.seen).toBe(1), { timeout: 10_000 });
  expect(socket.isPaused).toBe(true);
  socket.emit('message', Buffer.from('no JSON'), false);
  expect(socket.isPaused).toBe(false);
  handled();
  await new Promise((resolve) => setImmediate(resolve));
  expect(keys.seen).toBe(1);
});
