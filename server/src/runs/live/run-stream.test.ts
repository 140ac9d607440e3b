import { randomBytes } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import type { RunChange } from '@opsconductor/protocol';
import { expect, onTestFinished, test, vi } from 'vitest';
import { cancelRun } from '../ends/cancel-run.ts';
import { chunkOf, setupOutput, type TestOutput } from '../output/output-testing.ts';
import { endOf, success } from '../testing.ts';
import { LiveHub } from './live-hub.ts';
import { follow, idleMs, lockOutput, settle, setupEnded, statuses, texts } from './run-stream-testing.ts';

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

test('after the event that ends the run, a reader reads events no more, but only the run’s row', async () => {
  await using t = await setupOutput();
  const runId = await t.start();
  const lease = await t.claimOne();
  const { readToEnd } = await followWithoutLooking(t, runId);
  const reads = vi.spyOn(t.hub.events, 'after');
  await settle(t, endOf(lease));
  expect((await readToEnd()).map((event) => event.type)).toEqual(['change', 'end']);
  expect(reads).toHaveBeenCalledTimes(1);
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

test('the reader of a new run is served from memory at once, and looks into the database a little later', async () => {
  await using t = await setupOutput();
  const runId = await t.start();
  const lease = await t.claimOne();
  await t.send(lease, chunkOf(lease, 1, 'before it listened\n'));
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  onTestFinished(() => void vi.useRealTimers());
  const { read } = await follow(t, runId, '0', undefined, true);
  const reading = read();
  await setImmediate();
  expect(t.hub.turns.heldBytes).toBe(0);
  vi.advanceTimersByTime(1_000);
  vi.useRealTimers();
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
  const output = await lockOutput(t);
  const { read } = await follow(t, runId, '0', undefined, true);
  const { step: stepId, ...chunk } = chunkOf(lease, 1, 'first\n');
  t.hub.publishChunks([{ stepId, ...chunk }]);
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
