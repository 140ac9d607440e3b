// Everything that waits in a large run ends in one transaction. Neither that nor a reader of the run holds all of it in
// memory at once.
import type { RunChange } from '@opsconductor/protocol';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { inTransaction } from '../../store/database/transaction.ts';
import { LiveHub } from '../live/live-hub.ts';
import { RunStream } from '../live/run-stream.ts';
import { RunLedger } from '../progress/run-ledger.ts';
import { RunKeys } from '../run-keys.ts';
import { growRun, setupRuns, type TestRuns } from '../testing.ts';
import { RunPart } from '../view/run-part.ts';
import { cancelRun } from './cancel-run.ts';
import { endUnstarted } from './end-waits.ts';

const targets = 1_000;
const stepsEach = 20;
const maxEventBytes = 256 * 1024;

let t: TestRuns;
let runId: number;
beforeAll(async () => {
  t = await setupRuns();
  runId = await t.start({ steps: stepsEach, startWithinS: 3_600 });
  await growRun(t.sql, runId, targets);
});
afterAll(() => t[Symbol.asyncDispose]());

/** Does the work in a run of that size, and rolls it back. */
async function tried(work: (runId: number) => Promise<void>): Promise<void> {
  const before = await t.sql`select max(seq) as seq from run_events where job_run_id = ${runId}`;
  expect(before).toEqual([{ seq: null }]);
  try {
    await work(runId);
  } finally {
    await t.sql`delete from run_events where job_run_id = ${runId}`;
    await t.sql`alter table job_runs disable trigger user`;
    await t.sql`alter table job_run_targets disable trigger user`;
    await t.sql`alter table job_run_steps disable trigger user`;
    await t.sql`
      update job_run_steps set status = case step_number when 1 then 'ready' else 'pending' end, completed_at = null,
        reason = null, error_message = null where job_run_id = ${runId}`;
    await t.sql`
      update job_run_targets set status = 'queued', completed_at = null, end_reason = null where job_run_id = ${runId}`;
    await t.sql`
      update job_runs set status = 'queued', event_seq = 0, completed_at = null, completed_steps = 0, error_message = null,
        targets_cancelled = 0, targets_timed_out = 0, cancel_requested_at = null, execution_time_ms = null, output_state = 'open'
      where id = ${runId}`;
    await t.sql`alter table job_runs enable trigger user`;
    await t.sql`alter table job_run_targets enable trigger user`;
    await t.sql`alter table job_run_steps enable trigger user`;
  }
}

async function eventsOf(): Promise<{ seq: number; bytes: number; change: RunChange }[]> {
  return t.sql`
    select seq, octet_length(change::text)::int as bytes, change from run_events where job_run_id = ${runId} order by seq`;
}

function expectWhole(events: readonly { seq: number; change: RunChange }[], status: string): void {
  expect(events.map(({ seq }) => seq)).toEqual(events.map((_, at) => at + 1));
  const steps = new Set(events.flatMap(({ change }) => (change.steps ?? []).map(({ id }) => id)));
  const hosts = new Set(events.flatMap(({ change }) => (change.targetRuns ?? []).map(({ id }) => id)));
  expect([steps.size, hosts.size]).toEqual([targets * stepsEach, targets]);
  const told = events.flatMap(({ change }) => change.run?.status ?? []);
  // A reader who waits for the end of the run has been told everything by then.
  expect(told.indexOf(status as never)).toBe(told.length - 1);
  expect(events.at(-1)?.change.run).toMatchObject({ status, completedSteps: targets * stepsEach });
}

test('a cancel of a large run is told in events of a bounded size, the last of which says that the run has ended', async () => {
  await tried(async () => {
    await cancelRun(t.sql, runId, t.caller);
    const events = await eventsOf();
    expect(Math.max(...events.map(({ bytes }) => bytes))).toBeLessThanOrEqual(maxEventBytes);
    expectWhole(events, 'cancelled');
    const run = await t.run(runId);
    expect(run).toMatchObject({
      status: 'cancelled',
      eventSeq: events.length,
      completedSteps: targets * stepsEach,
    });
  });
});

test('the same holds for a run that could not start in time or was halted', async () => {
  await tried(async () => {
    await endUnstarted(t.sql, runId);
    const events = await eventsOf();
    expect(Math.max(...events.map(({ bytes }) => bytes))).toBeLessThanOrEqual(maxEventBytes);
    expectWhole(events, 'timed_out');
  });
  await tried(async () => {
    await inTransaction(t.sql, async (tx) => {
      const ledger = await RunLedger.open(tx, { runIds: [runId] });
      await ledger.endUnbegun(runId, { status: 'cancelled', reason: 'halted', message: 'Too many failed.' });
      await ledger.write();
    });
    const events = await eventsOf();
    expect(Math.max(...events.map(({ bytes }) => bytes))).toBeLessThanOrEqual(maxEventBytes);
    expectWhole(events, 'cancelled');
    expect(events[0]?.change.steps?.[0]).toMatchObject({ status: 'cancelled', reason: 'halted' });
    const [kept] = await t.sql`
      select count(*)::int as count from job_run_steps where job_run_id = ${runId} and error_message = 'Too many failed.'`;
    expect(kept).toEqual({ count: targets * stepsEach });
  });
});

test('a reader of part of a large run is told that it was cancelled, and never that it ended otherwise', async () => {
  await tried(async () => {
    await cancelRun(t.sql, runId, t.caller);
    const seen = await t.sql<{ id: number; stepIds: number[] }[]>`
      select target_run_id as id, array_agg(id) as step_ids from job_run_steps
      where job_run_id = ${runId} and target_run_id % 250 = 0 group by target_run_id`;
    const part = new RunPart(seen, { maxFailures: 0 });
    const told = (await eventsOf()).flatMap(({ change }) => part.see(change)?.run?.status ?? []);
    expect(part.isEnded).toBe(true);
    expect(new Set(told.slice(0, -1))).toEqual(new Set(['cancelling']));
    expect(told.at(-1)).toBe('cancelled');
  });
});

test('many readers of the events of a cancel together hold no more than allowed, and each gets all of them', async () => {
  await tried(async () => {
    await cancelRun(t.sql, runId, t.caller);
    const hub = new LiveHub();
    const keys = new RunKeys(t.masterKey);
    const read = async (): Promise<number> => {
      const position = { afterSeq: 0, output: new Map() };
      const stream = new RunStream({ sql: t.sql, hub, keys }, { runId, stepIds: [], position });
      let bytes = 0;
      for (;;) {
        const pieces = await stream.next(600_000);
        if (pieces === undefined) return bytes;
        largest = Math.max(
          largest,
          pieces.reduce((sum, { length }) => sum + length, 0),
        );
        peak = Math.max(peak, hub.turns.heldBytes);
        bytes += pieces.reduce((sum, { length }) => sum + length, 0);
      }
    };
    let largest = 0;
    let peak = 0;
    const all = await Promise.all(Array.from({ length: 20 }, read));
    expect(new Set(all).size).toBe(1);
    expect(all[0]).toBeGreaterThan(targets * stepsEach * 20);
    expect(peak).toBeLessThanOrEqual(16 * 1024 * 1024);
    expect(largest).toBeLessThanOrEqual(512 * 1024);
  });
});

test('steps that come back in a halted large run are told as ended, not as ready', async () => {
  await tried(async () => {
    const noted = (await t.steps(runId)).slice(0, stepsEach);
    await inTransaction(t.sql, async (tx) => {
      const ledger = await RunLedger.open(tx, { runIds: [runId] });
      for (const { id } of noted) ledger.noteStep(runId, { id, status: 'ready' });
      await ledger.endUnbegun(runId, { status: 'cancelled', reason: 'halted', message: 'Too many failed.' });
      await ledger.write();
    });
    const now = new Map(
      (await eventsOf()).flatMap(({ change }) => (change.steps ?? []).map(({ id, status }) => [id, status])),
    );
    expect(new Set(noted.map(({ id }) => now.get(id)))).toEqual(new Set(['cancelled']));
    expectWhole(await eventsOf(), 'cancelled');
  });
});
