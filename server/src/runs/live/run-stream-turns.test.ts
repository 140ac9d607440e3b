// Readers that share memory and database connections: their turns, and reads that are stuck.
import { randomBytes } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import type { ChunkEvent } from '@opsconductor/protocol';
import { expect, onTestFinished, test } from 'vitest';
import { chunkOf, setupOutput } from '../output/output-testing.ts';
import { endOf } from '../testing.ts';
import { LiveHub } from './live-hub.ts';
import { RunStream } from './run-stream.ts';
import { follow, idleMs, lockOutput, settle, setupEnded, texts } from './run-stream-testing.ts';

test('with many readers, each takes less at once and misses nothing', async () => {
  await using t = await setupOutput();
  const runId = await t.start();
  const lease = await t.claimOne();
  for (let seq = 1; seq <= 8; seq += 1) await t.send(lease, chunkOf(lease, seq, 'x'.repeat(200 * 1024)));
  await settle(t, endOf(lease));
  const others = Array.from({ length: 300 }, () => t.hub.turns.join({ cutOff() {} }));
  const { read, readToEnd } = await follow(t, runId);
  const first = texts((await read()) ?? []).length;
  // Alone, it takes all of it.
  expect(first).toBeLessThanOrEqual(4);
  for (const leave of others) leave();
  expect(texts(await readToEnd())).toHaveLength(8 - first);
});

test('beside many readers that take nothing, one that reads gets everything, and together they hold no more than allowed', async () => {
  await using t = await setupOutput();
  const runId = await t.start();
  const lease = await t.claimOne();
  const raw = randomBytes(256 * 1024);
  for (let seq = 1; seq <= 12; seq += 1) await t.send(lease, chunkOf(lease, seq, raw));
  await settle(t, endOf(lease));
  const maxHeldBytes = 4 * 1024 * 1024;
  const hub = new LiveHub({ maxHeldBytes, stalledMs: 2 });
  const many = { ...t, hub };
  let cutOff = 0;
  for (let n = 0; n < 20; n += 1) {
    const silent = await follow(many, runId, '0', () => {
      cutOff += 1;
    });
    void silent.read();
  }
  const { read } = await follow(many, runId);
  const seqs: number[] = [];
  let most = 0;
  for (let part = await read(); part !== undefined; part = await read()) {
    most = Math.max(most, hub.turns.heldBytes);
    for (const { type, data } of part) if (type === 'chunk') seqs.push((data as ChunkEvent).seq);
  }
  expect(seqs).toEqual(Array.from({ length: 12 }, (_, n) => n + 1));
  expect(most).toBeLessThanOrEqual(maxHeldBytes);
  expect(cutOff).toBeGreaterThan(0);
});

test('a reader takes one bounded piece at a time, however much there is, and the end right after the last', async () => {
  await using t = await setupOutput();
  const runId = await t.start();
  const lease = await t.claimOne();
  const { read } = await follow(t, runId);
  const raw = randomBytes(256 * 1024);
  const count = 40;
  for (let seq = 1; seq <= count; seq += 1) await t.send(lease, chunkOf(lease, seq, raw));
  await settle(t, endOf(lease));
  const sizes: number[] = [];
  const seqs: number[] = [];
  let last: string | undefined;
  for (let part = await read(); part !== undefined; part = await read()) {
    const chunks = part.filter((event) => event.type === 'chunk').map((event) => event.data as ChunkEvent);
    sizes.push(chunks.reduce((sum, chunk) => sum + chunk.rawLength, 0));
    seqs.push(...chunks.map((chunk) => chunk.seq));
    last = part.at(-1)?.type;
  }
  expect(seqs).toEqual(Array.from({ length: count }, (_, n) => n + 1));
  // A piece is made of two reads at most: what there was, and what came before the events that follow.
  expect(Math.max(...sizes)).toBeLessThanOrEqual(2 * 1024 * 1024 + raw.length);
  expect(last).toBe('end');
});

test('readers that are far behind leave database connections for others', async () => {
  await using t = await setupOutput();
  const runId = await t.start();
  const lease = await t.claimOne();
  await t.send(lease, chunkOf(lease, 1, 'one\n'));
  await settle(t, endOf(lease));
  const behind = { ...t, hub: new LiveHub() };
  const output = await lockOutput(t);
  // With so many readers, each pulls little, so that there is room for as many pulls as connections.
  for (let n = 0; n < 300; n += 1) behind.hub.turns.join({ cutOff() {} });
  const readers = await Promise.all(Array.from({ length: 20 }, () => follow(behind, runId)));
  const reading = readers.map(({ readToEnd }) => readToEnd());
  while ((await output.waiting()) === 0);
  // These would have to wait for a connection that readers have.
  for (let n = 0; n < 40; n += 1) await t.sql`select from job_runs`;
  await output.release();
  for (const seen of await Promise.all(reading)) expect(texts(seen)).toEqual(['one\n']);
});

test('a reader of an ended run reads nothing before it is its turn', async () => {
  await using t = await setupEnded();
  const ends = await Promise.all([1, 2, 3].map(() => t.hub.turns.reads.take('others')));
  const { read } = await follow(t, t.runId);
  const reading = read();
  await setImmediate();
  expect(t.hub.turns.heldBytes).toBe(0);
  for (const end of ends) end();
  expect(texts((await reading) ?? [])).toEqual(['one\n']);
});

test('a reader of events alone does not wait for those who read output', async () => {
  await using t = await setupEnded();
  await Promise.all([1, 2, 3].map(() => t.hub.turns.reads.take('others')));
  const stream = new RunStream(t, {
    runId: t.runId,
    stepIds: [],
    position: { afterSeq: 0, output: new Map() },
  });
  onTestFinished(() => stream.close());
  const seen: string[] = [];
  for (let part = await stream.next(idleMs); part !== undefined; part = await stream.next(idleMs))
    seen.push(Buffer.concat(part).toString());
  expect(seen.join('')).toContain('event: end');
});

test('a reader served from memory doesn’t wait for those whose database reads are stuck', async () => {
  await using t = await setupEnded();
  const liveRunId = await t.start();
  const live = await t.claimOne();
  const { read } = await follow(t, liveRunId);
  const shown = read();
  // It waits for news once it has looked.
  while (t.hub.turns.heldBytes > 0) await setImmediate();
  const output = await lockOutput(t);
  // Each may hold a fifth of the room.
  const behind = await Promise.all(Array.from({ length: 10 }, () => follow(t, t.runId)));
  const reading = behind.map(({ readToEnd }) => readToEnd());
  while ((await output.waiting()) === 0);
  const { step: stepId, ...chunk } = chunkOf(live, 1, 'live\n');
  t.hub.publishChunks([{ stepId, ...chunk }]);
  expect(texts((await shown) ?? [])).toEqual(['live\n']);
  await output.release();
  for (const seen of await Promise.all(reading)) expect(texts(seen)).toEqual(['one\n']);
});

test('a reader that has caught up from the database goes on from memory, and doesn’t wait for stuck reads', async () => {
  await using t = await setupEnded();
  const live = { ...t, hub: new LiveHub({ readMs: idleMs, pullMs: idleMs }) };
  const runId = await t.start();
  const lease = await t.claimOne();
  await t.send(lease, chunkOf(lease, 1, 'stored\n'));
  const { read } = await follow(live, runId);
  expect(texts((await read()) ?? [])).toEqual(['stored\n']);
  await t.send(lease, chunkOf(lease, 2, 'live\n'));
  const { step: stepId, ...chunk } = chunkOf(lease, 2, 'live\n');
  live.hub.publishChunks([{ stepId, ...chunk }]);
  const output = await lockOutput(t);
  const behind = await Promise.all(Array.from({ length: 3 }, () => follow(live, t.runId)));
  const reading = behind.map(({ readToEnd }) => readToEnd());
  while ((await output.waiting()) < 3);
  expect(texts((await read()) ?? [])).toEqual(['live\n']);
  await output.release();
  for (const seen of await Promise.all(reading)) expect(texts(seen)).toEqual(['one\n']);
});

test('a reader whose read is stuck gets nothing in time, so that its connection is kept, and then what was read', async () => {
  await using t = await setupEnded();
  const output = await lockOutput(t);
  const { stream, readToEnd } = await follow(t, t.runId);
  expect(await stream.next(0)).toEqual([]);
  const next = stream.next(idleMs);
  stream.nudge();
  expect(await next).toEqual([]);
  const reading = readToEnd();
  await output.release();
  expect(texts(await reading)).toEqual(['one\n']);
});

test.each([
  ['read', { readMs: 50 }, '57014'],
  ['pull', { pullMs: 50 }, 'unavailable'],
])('a %s that takes too long is given up, and the next reader has its turn', async (_, settings, code) => {
  await using t = await setupEnded();
  const hub = new LiveHub(settings);
  const output = await lockOutput(t);
  // More than read at a time.
  const readers = await Promise.all(Array.from({ length: 5 }, () => follow({ ...t, hub }, t.runId)));
  await Promise.all(readers.map(({ read }) => expect(read()).rejects.toMatchObject({ code })));
  expect(hub.turns.heldBytes).toBe(0);
  // The database has ended the queries.
  if (code === '57014') expect(await output.waiting()).toBe(0);
  await output.release();
});

test('a reader that leaves while it waits for its turn keeps nobody from theirs', async () => {
  await using t = await setupEnded();
  const output = await lockOutput(t);
  const readers = await Promise.all(Array.from({ length: 8 }, () => follow(t, t.runId)));
  const reading = readers.map(({ readToEnd }) => readToEnd());
  while ((await output.waiting()) < 3);
  for (const { stream } of readers.slice(1)) stream.close();
  await output.release();
  expect(texts((await reading[0]) ?? [])).toEqual(['one\n']);
  const { readToEnd } = await follow(t, t.runId);
  expect(texts(await readToEnd())).toEqual(['one\n']);
});
