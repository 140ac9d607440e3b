import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { setupDatabase, type TestDatabase } from '../store/database/testing.ts';
import { ClockWatch } from './clock-watch.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await setupDatabase();
});
afterAll(() => database.close());

function setup() {
  const lines: string[] = [];
  const clock = { aheadMs: 0, slowMs: 0, asked: 0 };
  const watch = new ClockWatch({
    sql: database.sql,
    log: {
      info: (line: string) => lines.push(`info: ${line}`),
      warn: (line: string) => lines.push(`warn: ${line}`),
    } as never,
    now: () => {
      clock.asked += 1;
      return new Date(Date.now() + clock.aheadMs + (clock.asked % 2 === 0 ? clock.slowMs : 0));
    },
    pauseMs: 1,
  });
  return { watch, lines, clock };
}

test('a difference between the clocks of server and database is logged when it begins, and its end', async () => {
  const { watch, lines, clock } = setup();
  for (const aheadMs of [0, 4_000, 7_200_000, 7_200_000, 0, 0, -60_000]) {
    clock.aheadMs = aheadMs;
    await watch.look();
  }
  expect(lines).toEqual([
    expect.stringMatching(/^warn: the clock of this server is 7200 s ahead of that of its database; correct/),
    'info: the clocks of this server and of its database agree again',
    expect.stringMatching(/^warn: the clock of this server is 60 s behind that of its database; correct/),
  ]);
});

test('an answer of the database that takes long is no difference of the clocks', async () => {
  const { watch, lines, clock } = setup();
  clock.slowMs = 60_000;
  await watch.look();
  expect(lines).toEqual([]);
});

test('the clocks are compared again and again until the server stops', async () => {
  const { watch, lines, clock } = setup();
  watch.start();
  await vi.waitFor(() => expect(clock.asked).toBeGreaterThan(4), 10_000);
  clock.aheadMs = 60_000;
  await vi.waitFor(() => expect(lines).toHaveLength(1), 10_000);
  await watch.stop();
  const { asked } = clock;
  watch.start();
  expect(clock.asked).toBe(asked);
});

test('a database that does not answer is no difference of the clocks', async () => {
  const { lines } = setup();
  const sql = (() => Promise.reject(new Error('gone'))) as never;
  const log = { info: () => lines.push('info'), warn: () => lines.push('warn') } as never;
  await new ClockWatch({ sql, log, now: () => new Date() }).look();
  expect(lines).toEqual([]);
});
