import { randomBytes } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import type { ChunkEvent, RunChange } from '@opsconductor/protocol';
import { afterEach, expect, test, vi } from 'vitest';
import { cancelRun } from '../ends/cancel-run.ts';
import { chunkOf, setupOutput, type TestOutput, textOf } from '../output/output-testing.ts';
import { endOf, success } from '../testing.ts';
import { LiveHub } from './live-hub.ts';
import { RunStream } from './run-stream.ts';
import { formatPosition, parsePosition } from './stream-position.ts';

/** Longer than any test may last: a reader that has to wait for it has missed a wake. */
const idleMs = 600_000;
const streams: RunStream[] = [];
afterEach(() => {
  for (const stream of streams.splice(0)) stream.close();
});

interface Seen {
  id: string;
  type: string;
  data: unknown;
}

/** Follows a run with all its output, from a position on. */
async function follow(t: TestOutput, runId: number, from = '0', onCutOff = () => {}, isNew = false) {
  const position = parsePosition(from);
  if (position === undefined) throw new Error(`no position: ${from}`);
  const stepIds = (await t.steps(runId)).map((step) => step.id);
  const ofNew = isNew ? { isNew, hasEnded: false } : {};
  const stream = new RunStream(t, { runId, stepIds, position, onCutOff, ...ofNew });
  streams.push(stream);
  const read = async (): Promise<Seen[] | undefined> => {
    const pieces = await stream.next(idleMs);
    const text = pieces === undefined ? undefined : Buffer.concat(pieces).toString();
    return text
      ?.split('\n\n')
      .filter(Boolean)
      .map(parse)
      .filter(({ type }) => type !== '');
  };
  return {
    stream,
    read,
    async readToEnd(): Promise<Seen[]> {
      const all: Seen[] = [];
      for (let part = await read(); part !== undefined; part = await read()) all.push(...part);
      return all;
    },
  };
}

function parse(frame: string): Seen {
  const field = (name: string) => new RegExp(`^${name}: (.*)$`, 'm').exec(frame)?.[1] ?? '';
  return { id: field('id'), type: field('event'), data: JSON.parse(field('data') || 'null') };
}

function texts(seen: readonly Seen[]): string[] {
  return seen.flatMap((event) => (event.type === 'chunk' ? [textOf((event.data as ChunkEvent).data)] : []));
}

function statuses(seen: readonly Seen[]): (string | undefined)[] {
  return seen.flatMap((event) => (event.type === 'change' ? [(event.data as RunChange).run?.status] : []));
}

/** Tells this server's readers, as the gateway does after each transaction. */
async function settle(t: TestOutput, ...ends: Parameters<TestOutput['settle']>) {
  const { results, news } = await t.settle(...ends);
  t.hub.publishRuns(news.runs);
  return results;
}

test('a reader sees output, changes and the end in the order in which they came about', async () => {
  await using t = await setupOutput();
  const runId = await t.start();
  const lease = await t.claimOne();
  const { readToEnd } = await follow(t, runId);
  const reading = readToEnd();
  await t.send(lease, chunkOf(lease, 1, 'one\n'));
  await t.send(lease, chunkOf(lease, 2, 'two\n', 'stderr'));
  await settle(t, endOf(lease));
  const seen = await reading;
  expect(texts(seen)).toEqual(['one\n', 'two\n']);
  expect(statuses(seen)).toEqual(['succeeded']);
  expect(seen.map((event) => event.type)).toEqual(['chunk', 'chunk', 'change', 'end']);
});

/** A reader that is only told: the timer by which readers of new runs look for themselves never fires. */
async function followWithoutLooking(t: TestOutput, runId: number) {
  vi.useFakeTimers({ toFake: ['setTimeout'] });
  return follow(t, runId, '0', undefined, true).finally(() => vi.useRealTimers());
}

test('after the event that ends the run, a reader still gets output that nobody announced', async () => {
  await using t = await setupOutput();
  const runId = await t.start();
  const lease = await t.claimOne();
  const { readToEnd } = await followWithoutLooking(t, runId);
  const other = await elsewhere(t);
  await other.send(lease, chunkOf(lease, 1, 'not announced\n'));
  await settle(t, endOf(lease));
  expect((await readToEnd()).map((event) => event.type)).toEqual(['change', 'chunk', 'end']);
});

test('after the event that ends the run, a reader looks into the database once', async () => {
  await using t = await setupOutput();
  const runId = await t.start();
  const lease = await t.claimOne();
  const { readToEnd } = await followWithoutLooking(t, runId);
  const reads = vi.spyOn(t.hub.events, 'after');
  await settle(t, endOf(lease));
  expect((await readToEnd()).map((event) => event.type)).toEqual(['change', 'end']);
  expect(reads).toHaveBeenCalledTimes(2);
});

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

test('a reader who resumes after any event misses nothing and sees nothing twice', async () => {
  await using t = await setupOutput();
  const runId = await t.start({ steps: 2 });
  const lease = await t.claimOne();
  await t.send(lease, chunkOf(lease, 1, 'one\n'), chunkOf(lease, 2, 'two\n'));
  const [result] = await settle(t, endOf(lease, success, { wantsNext: true }));
  const next = result?.next;
  if (next === undefined) throw new Error('no next step');
  await t.send(next, chunkOf(next, 1, 'three\n'));
  await settle(t, endOf(next));
  const whole = await (await follow(t, runId)).readToEnd();
  expect(texts(whole)).toEqual(['one\n', 'two\n', 'three\n']);
  for (const [index, { id }] of whole.entries()) {
    if (id === '') continue;
    const rest = await (await follow(t, runId, id)).readToEnd();
    expect(rest).toEqual(whole.slice(index + 1));
  }
});

test('a reader that comes after a run has ended sees all of it and the end', async () => {
  await using t = await setupOutput();
  const runId = await t.start();
  const lease = await t.claimOne();
  await t.send(lease, chunkOf(lease, 1, 'one\n'));
  await settle(t, endOf(lease));
  const seen = await (await follow(t, runId)).readToEnd();
  expect(texts(seen)).toEqual(['one\n']);
  expect(seen.at(-1)?.type).toBe('end');
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

test('a reader who is further behind than memory reaches goes on from the database', async () => {
  await using t = await setupOutput();
  const runId = await t.start();
  const lease = await t.claimOne();
  const { readToEnd } = await follow(t, runId);
  const raw = randomBytes(256 * 1024);
  for (let seq = 1; seq <= 24; seq += 1) await t.send(lease, chunkOf(lease, seq, raw));
  expect(t.hub.recent(lease.id, 1, 0)).toBeUndefined();
  expect(t.hub.recent(lease.id, 1, 23)).toHaveLength(1);
  await settle(t, endOf(lease));
  const seen = await readToEnd();
  expect(seen.filter((event) => event.type === 'chunk')).toHaveLength(24);
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

/** Keeps stored output from being read until it is released. */
async function lockOutput({ sql }: TestOutput) {
  const holder = await sql.reserve();
  await holder`begin`;
  await holder`lock table run_output in access exclusive mode`;
  return {
    /** Returns how many queries wait for it. */
    async waiting(): Promise<number> {
      const rows = await holder`
        select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`;
      return rows.length;
    },
    async release(): Promise<void> {
      await holder`commit`;
      holder.release();
    },
  };
}

/** Sets up a run that has ended, with none of its output in memory. */
async function setupEnded() {
  const t = await setupOutput();
  const runId = await t.start();
  const lease = await t.claimOne();
  await t.send(lease, chunkOf(lease, 1, 'one\n'));
  await settle(t, endOf(lease));
  return Object.assign(t, { runId });
}

test('the reader of a new run is served from memory at once, and looks into the database a little later', async () => {
  await using t = await setupOutput();
  const runId = await t.start();
  const lease = await t.claimOne();
  await t.send(lease, chunkOf(lease, 1, 'before it listened\n'));
  const { read } = await follow(t, runId, '0', undefined, true);
  const reading = read();
  await setImmediate();
  expect(t.hub.turns.heldBytes).toBe(0);
  expect(texts((await reading) ?? [])).toEqual(['before it listened\n']);
  const next = read();
  const { step: stepId, ...chunk } = chunkOf(lease, 2, 'since\n');
  await t.send(lease, chunkOf(lease, 2, 'since\n'));
  t.hub.publishChunks([{ stepId, ...chunk }]);
  expect(texts((await next) ?? [])).toEqual(['since\n']);
});

test('events announced for a new run are shown before anything was looked up', async () => {
  await using t = await setupOutput();
  const runId = await t.start();
  const lease = await t.claimOne();
  const { read } = await follow(t, runId, '0', undefined, true);
  const { step: stepId, ...chunk } = chunkOf(lease, 1, 'first\n');
  t.hub.publishChunks([{ stepId, ...chunk }]);
  const output = await lockOutput(t);
  expect(texts((await read()) ?? [])).toEqual(['first\n']);
  await output.release();
});

test('chunks that one reader has read from the database are given to others without it', async () => {
  await using t = await setupEnded();
  const first = await follow(t, t.runId);
  expect(texts(await first.readToEnd())).toEqual(['one\n']);
  const output = await lockOutput(t);
  const second = await follow(t, t.runId);
  expect(texts((await second.read()) ?? [])).toEqual(['one\n']);
  await output.release();
  await second.readToEnd();
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
  streams.push(stream);
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

test('output that another server stored, and that only the bus announces, is shown', async () => {
  await using t = await setupOutput();
  const runId = await t.start();
  const lease = await t.claimOne();
  const { read } = await follow(t, runId);
  const other = await elsewhere(t);
  const reading = read();
  await other.send(lease, chunkOf(lease, 1, 'one\n'));
  t.hub.publishSteps([{ stepId: lease.id, epoch: 1, seq: 1 }]);
  expect(texts((await reading) ?? [])).toEqual(['one\n']);
});

/** The same database as another server sees it, whose readers aren't here. */
async function elsewhere(t: TestOutput) {
  const { OutputWriter } = await import('../output/output-writer.ts');
  const writer = new OutputWriter({ ...t, hub: new LiveHub() });
  return {
    send: (lease: Parameters<TestOutput['send']>[0], frame: ReturnType<typeof chunkOf>) =>
      new Promise((done) => {
        const { id: stepId, epoch, jobRunId: runId, attemptDay, agentId, sessionNumber } = lease;
        writer.push(
          { stepId, epoch, runId, attemptDay, agentId, sessionNumber },
          frame,
          Buffer.alloc(32),
          done,
        );
      }),
  };
}

test('news that a reader was not told of is found when it has been idle', async () => {
  await using t = await setupOutput();
  const runId = await t.start();
  const lease = await t.claimOne();
  const { stream, read } = await follow(t, runId);
  expect(await stream.next(0)).toHaveLength(0);
  await t.settle(endOf(lease));
  expect(await stream.next(0)).not.toHaveLength(0);
  expect((await read())?.at(-1)?.type).toBe('end');
});

test('a quiet reader gets nothing, and undefined once it is closed', async () => {
  await using t = await setupOutput();
  const runId = await t.start();
  const { stream } = await follow(t, runId);
  expect(await stream.next(0)).toHaveLength(0);
  const waiting = stream.next(idleMs);
  stream.close();
  expect(await waiting).toBeUndefined();
});

test('a cancel is told at once', async () => {
  await using t = await setupOutput();
  const runId = await t.start();
  await t.claimOne();
  const { read } = await follow(t, runId);
  const reading = read();
  t.hub.publishRuns((await cancelRun(t.sql, runId, t.caller)).runs);
  expect(statuses((await reading) ?? [])).toEqual(['cancelling']);
});

test('positions are read back as they were written, and other texts are rejected', () => {
  const position = {
    afterSeq: 12,
    output: new Map([
      [7, { epoch: 1, seq: 3 }],
      [9, { epoch: 2, seq: 0 }],
    ]),
  };
  expect(parsePosition(formatPosition(position))).toEqual(position);
  for (const text of ['', '-1', '1~', '1~7.1', '1~7.1.x', '1 ', '1~7.1.1~', 'x', '1e3'])
    expect(parsePosition(text)).toBeUndefined();
  expect(parsePosition(`1${'~7.1.1'.repeat(65)}`)).toBeUndefined();
});

test('a reader who is far behind gets every event', async () => {
  await using t = await setupOutput();
  const runId = await t.start();
  await t.settle(endOf(await t.claimOne()));
  await t.sql`
    insert into run_events (job_run_id, seq, change)
    select ${runId}, n, '{"run": {"completedSteps": 1}}' from generate_series(2, 450) n`;
  await t.sql`update job_runs set event_seq = 450 where id = ${runId}`;
  const seen = await (await follow(t, runId)).readToEnd();
  const changes = seen.filter((event) => event.type === 'change').map((event) => event.data as RunChange);
  expect(changes.map((change) => change.seq)).toEqual(Array.from({ length: 450 }, (_, n) => n + 1));
  expect(seen.at(-1)?.type).toBe('end');
});

test('the progress of transfers reaches a reader, only the newest for each step', async () => {
  await using t = await setupOutput();
  const runId = await t.start({ targets: 2 });
  const [first, second] = await t.steps(runId);
  const reader = await follow(t, runId);
  const progress = { files: 0, filesTotal: 1, bytes: 1, bytesTotal: 9, isCounted: true, bytesPerSecond: 1 };
  const told = (stepId: number, bytes: number) =>
    t.hub.publishTransfers([{ runId, stepId, attempt: 1, progress: { ...progress, bytes } }]);
  told(first?.id ?? 0, 1);
  told(first?.id ?? 0, 2);
  told(second?.id ?? 0, 3);
  const seen = await reader.read();
  expect(seen?.filter((event) => event.type === 'transfer').map((event) => event.data)).toEqual([
    { stepId: first?.id, attempt: 1, progress: { ...progress, bytes: 2 } },
    { stepId: second?.id, attempt: 1, progress: { ...progress, bytes: 3 } },
  ]);
});
