import { expect, onTestFinished, test, vi } from 'vitest';
import { createLog } from '../../log.ts';
import type { ProgressNews } from '../../runs/progress/run-ledger.ts';
import { blockedBackends, holdTransaction, setupRuns } from '../../runs/testing.ts';
import type { Sql } from '../../store/database/connection.ts';
import { DatabaseLost } from '../../store/database/database-lost.ts';
import { LeaseNotes } from './lease-notes.ts';

async function setup() {
  const t = await setupRuns();
  const runId = await t.start();
  const lease = await t.claimOne();
  const { id: step, epoch, agentId, sessionNumber } = lease;
  const news: ProgressNews[] = [];
  const log = createLog({ level: 'fatal', plain: false });
  const notes = new LeaseNotes({ sql: t.sql, log, onNews: (each) => news.push(each) });
  const dispose = t[Symbol.asyncDispose];
  return Object.assign(t, {
    runId,
    lease,
    begun: { step, epoch, agentId, sessionNumber },
    notes,
    news,
    events: () => t.sql`select change from run_events where job_run_id = ${runId} order by seq`,
    async [Symbol.asyncDispose]() {
      await notes.stop();
      await dispose();
    },
  });
}

test('a lease and its start are told in one event', async () => {
  await using t = await setup();
  t.notes.leased([t.lease]);
  t.notes.started(t.begun);
  await t.notes.flush();
  const events = await t.events();
  expect(events).toHaveLength(1);
  expect(events[0]?.change).toMatchObject({
    run: { status: 'running', targetsRunning: 1 },
    steps: [{ id: t.lease.id, status: 'running', agentName: t.agent.name, startedAt: expect.any(String) }],
  });
  expect(t.news).toMatchObject([{ runs: [{ id: t.runId, seq: 1, ended: false }] }]);
});

test('a start that comes later has an event of its own', async () => {
  await using t = await setup();
  t.notes.leased([t.lease]);
  await t.notes.flush();
  t.notes.started(t.begun);
  await expect.poll(t.events).toHaveLength(2);
  const [, second] = await t.events();
  expect(second?.change.steps).toEqual([{ id: t.lease.id, startedAt: expect.any(String) }]);
});

test('an attempt that has ended is not announced any more, but tells how long ago it began', async () => {
  await using t = await setup();
  t.notes.leased([t.lease]);
  t.notes.started(t.begun);
  expect(t.notes.ended(t.begun)).toBeGreaterThanOrEqual(0);
  expect(t.notes.ended(t.begun)).toBeUndefined();
  await t.notes.flush();
  expect(await t.events()).toEqual([]);
  expect(t.news).toEqual([]);
});

test('an attempt that ends while its start is being written tells how long ago it began as well', async () => {
  await using t = await setup();
  const release = await holdTransaction(
    t.sql,
    (tx) => tx`select from job_runs where id = ${t.runId} for update`,
  );
  t.notes.started(t.begun);
  const written = t.notes.flush();
  await blockedBackends(t.sql, 1);
  // Its end may be settled before that, which then changes nothing any more.
  expect(t.notes.ended(t.begun)).toBeGreaterThanOrEqual(0);
  await release();
  await written;
  expect(t.notes.ended(t.begun)).toBeUndefined();
});

test('what could not be written of an attempt that has ended meanwhile is not kept', async () => {
  await using t = await setup();
  await t.sql`alter table run_events rename to away`;
  const release = await holdTransaction(
    t.sql,
    (tx) => tx`select from job_runs where id = ${t.runId} for update`,
  );
  t.notes.leased([t.lease]);
  const written = t.notes.flush();
  await blockedBackends(t.sql, 1);
  t.notes.ended(t.begun);
  await release();
  await written;
  await t.sql`alter table away rename to run_events`;
  await t.notes.flush();
  expect(t.news).toEqual([]);
});

test('an attempt’s note waits its whole time, although an earlier attempt’s would have been due by now', async () => {
  await using t = await setup();
  await t.start();
  const next = await t.claimOne();
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
  try {
    t.notes.leased([t.lease]);
    await vi.advanceTimersByTimeAsync(24);
    t.notes.ended(t.begun);
    t.notes.leased([next]);
    await vi.advanceTimersByTimeAsync(24);
    t.notes.ended({ step: next.id, epoch: next.epoch });
  } finally {
    vi.useRealTimers();
  }
  await t.notes.flush();
  expect(t.news).toEqual([]);
});

/** Nothing is tried by itself until the end of the test, however long it takes. */
function timeStandsStill(): void {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
  onTestFinished(() => void vi.useRealTimers());
}

test('notes that the database refused are written once it is back', async () => {
  await using t = await setup();
  timeStandsStill();
  await t.sql`alter table run_events rename to away`;
  t.notes.leased([t.lease]);
  await t.notes.flush();
  await t.sql`alter table away rename to run_events`;
  expect(await t.run(t.runId)).toMatchObject({ status: 'queued' });
  await t.notes.flush();
  expect(await t.events()).toHaveLength(1);
});

test('a note that the database refuses is written later, and keeps no other run’s note from being written', async () => {
  await using t = await setup();
  const otherId = await t.start();
  const other = await t.claimOne();
  await t.sql`alter table run_events add constraint refused check (job_run_id <> ${t.sql.unsafe(String(t.runId))})`;
  t.notes.leased([t.lease, other]);
  t.notes.started(t.begun);
  await t.notes.flush();
  expect(await t.run(otherId)).toMatchObject({ status: 'running' });
  expect(await t.run(t.runId)).toMatchObject({ status: 'queued' });
  await t.sql`alter table run_events drop constraint refused`;
  await t.notes.flush();
  const [event] = await t.events();
  expect(event?.change.steps).toMatchObject([{ status: 'running', startedAt: expect.any(String) }]);
});

test('if the database goes away while notes are written one by one, the others are kept without asking for each', async () => {
  await using t = await setup();
  let asked = 0;
  const warnings: string[] = [];
  const notes = new LeaseNotes({
    sql: Object.assign(() => undefined, {
      begin: () => Promise.reject(++asked < 3 ? new Error('this one is refused') : new DatabaseLost()),
    }) as unknown as Sql,
    log: createLog({ level: 'warn', plain: false, destination: { write: (line) => warnings.push(line) } }),
    onNews: (each) => t.news.push(each),
  });
  notes.leased(Array.from({ length: 1_000 }, (_, at) => ({ id: at + 1, epoch: 1 })));
  await notes.flush();
  // All together, the first one, and the one at which the database was gone.
  expect(asked).toBe(3);
  expect(warnings).toHaveLength(1);
  await notes.flush();
  expect(asked).toBe(4);
  await notes.stop();
});

test('notes that were refused are tried again after a second, and not when they would have been due', async () => {
  timeStandsStill();
  let asked = 0;
  const notes = new LeaseNotes({
    sql: Object.assign(() => undefined, {
      begin: () => Promise.reject(new Error(`refused ${++asked} times`)),
    }) as unknown as Sql,
    log: createLog({ level: 'fatal', plain: false }),
    onNews: () => undefined,
  });
  notes.leased([{ id: 1, epoch: 1 }]);
  await notes.flush();
  await vi.advanceTimersByTimeAsync(999);
  expect(asked).toBe(1);
  await vi.advanceTimersByTimeAsync(1);
  expect(asked).toBe(2);
  await notes.stop();
});

test('however many notes are refused, one line tells of them', async () => {
  await using t = await setup();
  timeStandsStill();
  const warnings: string[] = [];
  const notes = new LeaseNotes({
    sql: t.sql,
    log: createLog({ level: 'warn', plain: false, destination: { write: (line) => warnings.push(line) } }),
    onNews: (each) => t.news.push(each),
  });
  await t.start({ targets: 3 });
  await t.sql`alter table run_events rename to away`;
  notes.leased([t.lease, ...(await t.claim())]);
  await notes.flush();
  await t.sql`alter table away rename to run_events`;
  expect(warnings).toEqual([expect.stringContaining('"notes":4')]);
  await notes.flush();
  expect(t.news.flatMap(({ runs }) => runs)).toHaveLength(2);
  await notes.stop();
});
