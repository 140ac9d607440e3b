import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Sql } from '../../store/database/connection.ts';
import { insertRunEvents, readRunEvents } from '../../store/runs/progress/run-events.ts';
import { setupRuns, type TestRuns } from '../testing.ts';
import { ReadEvents } from './read-events.ts';

const any = { seq: Number.POSITIVE_INFINITY };

let t: TestRuns;
let runId: number;
beforeAll(async () => {
  t = await setupRuns();
  runId = await t.start();
  await add(1, 10);
});
afterAll(() => t[Symbol.asyncDispose]());

/** Adds events of ten thousand bytes each. */
async function add(from: number, to: number): Promise<void> {
  const errorMessage = 'x'.repeat(10_000);
  const events = Array.from({ length: to - from + 1 }, (_, n) => from + n).map((seq) => ({
    jobRunId: runId,
    seq,
    at: new Date(),
    change: { run: { status: 'running', errorMessage } },
  }));
  await t.sql.begin((tx) => insertRunEvents(tx as never, events));
}

/** Counts the queries to the database. */
function counted(): { db: Sql; count: () => number } {
  let count = 0;
  const db = new Proxy(t.sql, {
    apply(target, self, args) {
      count += 1;
      return Reflect.apply(target as never, self, args);
    },
  });
  return { db, count: () => count };
}

function numbersOf({ events }: { events: readonly { seq: number }[] }): number[] {
  return events.map(({ seq }) => seq);
}

test('events are read in order up to a number of bytes, and at least one', async () => {
  const read = (after: number, maxEvents: number, maxBytes: number) =>
    readRunEvents(t.sql, runId, after, { maxEvents, maxBytes }).then((events) =>
      events.map(({ seq }) => seq),
    );
  expect(await read(0, 200, 25_000)).toEqual([1, 2, 3]);
  expect(await read(3, 200, 1)).toEqual([4]);
  expect(await read(4, 2, 1_000_000)).toEqual([5, 6]);
  expect(await read(6, 200, 1_000_000)).toEqual([7, 8, 9, 10]);
  expect(await read(10, 200, 1_000_000)).toEqual([]);
  const [event] = await readRunEvents(t.sql, runId, 0, { maxEvents: 1, maxBytes: 1 });
  expect(event).toMatchObject({ status: 'running', at: expect.any(Date) });
  expect(JSON.parse(event?.change ?? '')).toMatchObject({ run: { status: 'running' } });
});

test('events that one reader has read are given to others from memory, while it reads and afterwards', async () => {
  const { db, count } = counted();
  const events = new ReadEvents({ maxReadBytes: 25_000 });
  const sinceMs = performance.now();
  const all = await Promise.all([0, 1, 2].map(() => events.after(db, runId, 0, { ...any, sinceMs })));
  expect(all.map(numbersOf)).toEqual([
    [1, 2, 3],
    [1, 2, 3],
    [1, 2, 3],
  ]);
  expect(all.every(({ isAll }) => !isAll)).toBe(true);
  expect(numbersOf(await events.after(db, runId, 1, { ...any, sinceMs }))).toEqual([2, 3]);
  expect(count()).toBe(1);
  // A reader that was told of no more than what is here reads no further.
  expect(await events.after(db, runId, 1, { seq: 3, sinceMs })).toMatchObject({ isAll: true });
  expect(await events.after(db, runId, 1, { seq: 4, sinceMs })).toMatchObject({ isAll: false });
  expect(count()).toBe(1);
});

test('a reader that is told of an event while another one reads does its own read, since the other may miss the event', async () => {
  const events = new ReadEvents();
  let answer = () => {};
  const asked: string[] = [];
  const slow = (name: string) =>
    ((...args: unknown[]) => {
      asked.push(name);
      const rows = (t.sql as unknown as (...all: unknown[]) => Promise<unknown[]>)(...args).then(
        (all) => all,
      );
      return new Promise((resolve) => {
        answer = () => void rows.then(resolve);
      });
    }) as never;
  const first = events.after(slow('first'), runId, 10, { ...any, sinceMs: performance.now() });
  await t.sql`select 1`;
  await add(11, 11);
  const second = events.after(t.sql, runId, 10, { seq: 11, sinceMs: performance.now() });
  expect(await second).toMatchObject({ events: [{ seq: 11 }], isAll: true });
  answer();
  await first;
  expect(asked).toEqual(['first']);
});

test('no more is kept than allowed', async () => {
  const events = new ReadEvents({ maxKeptBytes: 35_000, maxReadBytes: 1_000_000 });
  const read = await events.after(t.sql, runId, 0, { ...any, sinceMs: performance.now() });
  expect(read.events.length).toBeGreaterThanOrEqual(10);
  expect(events.bytes).toBeLessThanOrEqual(35_000);
  expect(events.bytes).toBeGreaterThan(0);
});
