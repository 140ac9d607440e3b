import { expect, test } from 'vitest';
import type { ClaimedStep } from '../../store/queue/claims/claims.ts';
import { timeOutRun } from '../ends/time-out-run.ts';
import { markLeased } from '../leases/mark-leased.ts';
import { endOf, failure, givenUp, setupRuns, success, type TestRuns } from '../testing.ts';

async function targetRuns(t: TestRuns, runId: number) {
  return t.sql<{ status: string; endReason: string | null; isOpen: boolean }[]>`
    select status, end_reason, is_open from job_run_targets where job_run_id = ${runId} order by id`;
}

async function settleAll(t: TestRuns, claimed: readonly ClaimedStep[], outcome = success) {
  return t.settle(...claimed.map((step) => endOf(step, outcome)));
}

test('a run opens its targets batch by batch, and no more than max_parallel at a time', async () => {
  await using t = await setupRuns();
  const strategy = { batches: [1, 3], max_parallel: 2 };
  const runId = await t.start({ targets: 5, steps: 2, job: { strategy } });
  const first = await t.claimOne();
  const { news, results } = await t.settle(endOf(first, success, { wantsNext: true }));
  expect(news.segments).toEqual([]);
  const next = results[0]?.next;
  if (next === undefined) throw new Error('no next step');
  expect((await t.settle(endOf(next))).news.segments).toEqual([t.segmentId]);
  const second = await t.claim();
  expect(second).toHaveLength(2);
  expect((await targetRuns(t, runId)).map((target) => target.isOpen)).toEqual([
    true,
    true,
    true,
    false,
    false,
  ]);
  for (let round = 0; round < 8; round += 1) await settleAll(t, round === 0 ? second : await t.claim());
  expect(await t.run(runId)).toMatchObject({ status: 'succeeded', completedSteps: 10 });
});

test('beyond max_failures, unbegun targets end cancelled, running ones go on, and the run is failed', async () => {
  await using t = await setupRuns();
  await t.connect(t.agent, { slots: 2 });
  const strategy = { max_parallel: 3, max_failures: 0 };
  const runId = await t.start({ targets: 5, steps: 2, job: { strategy } });
  const [first, other] = await t.claim();
  if (first === undefined || other === undefined) throw new Error('two were to be claimed');
  await t.settle(endOf(first, failure));
  const message = 'Not begun: more hosts failed or became unknown than max_failures allows (0).';
  const ended = { status: 'cancelled', endReason: message };
  expect((await targetRuns(t, runId)).slice(2)).toMatchObject([ended, ended, ended]);
  expect((await t.steps(runId)).at(-1)).toMatchObject({ status: 'cancelled', reason: 'halted' });
  // The reply passes no step on: a halted run gives way to others, and finishes only what it has begun.
  const { results } = await t.settle(endOf(other, success, { wantsNext: true }));
  expect(results[0]?.next).toBeUndefined();
  await settleAll(t, await t.claim());
  expect(await t.run(runId)).toMatchObject({ status: 'failed', completedSteps: 10 });
});

test('tolerated failures make a run partial', async () => {
  await using t = await setupRuns();
  const runId = await t.start({ targets: 3, job: { strategy: { max_failures: '34%' } } });
  const [first, ...others] = await t.claim();
  if (first === undefined) throw new Error('nothing was claimed');
  await t.settle(endOf(first, failure), ...others.map((step) => endOf(step)));
  expect((await t.run(runId)).status).toBe('partial');
});

test('a strategy is followed on 12,000 targets set by set', async () => {
  await using t = await setupRuns();
  await t.connect(t.agent, { slots: 1 });
  const runId = await t.start({ targets: 1, steps: 2, job: { strategy: { max_parallel: 1 } } });
  await t.sql`
    insert into job_run_targets (job_run_id, segment_id, target_name, is_open)
    select ${runId}, ${t.segmentId}, 'more ' || n, false from generate_series(1, 11999) n`;
  await t.sql`
    insert into job_run_steps (job_run_id, target_run_id, segment_id, step_number, step_type, time_budget_s)
    select job_run_id, id, segment_id, n, 'ssh.exec', 60 from job_run_targets, generate_series(1, 2) n where not is_open`;
  await t.sql`update job_runs set targets_total = 12000, total_steps = 24000 where id = ${runId}`;
  await t.settle(endOf(await t.claimOne(), failure));
  // Told in portions: what ended it, its steps, its target runs.
  expect(await t.run(runId)).toMatchObject({ status: 'failed', completedSteps: 24_000, eventSeq: 37 });
});

test('a higher priority that waits in the segment goes before the next step of a target run', async () => {
  await using t = await setupRuns();
  await t.connect(t.agent, { slots: 1 });
  await t.start({ steps: 2 });
  const first = await t.claimOne();
  const urgent = await t.start({ job: { priority: 5 } });
  const { results, news } = await t.settle(endOf(first, success, { wantsNext: true }));
  expect(results[0]?.next).toBeUndefined();
  expect(news.segments).toEqual([t.segmentId]);
  expect((await t.claimOne()).jobRunId).toBe(urgent);
});

test('a run past its timeout ends waiting steps and stops running ones; both have timed out', async () => {
  await using t = await setupRuns();
  await t.connect(t.agent, { slots: 1 });
  const runId = await t.start({ targets: 2, steps: 2, job: { timeout: 60 } });
  const lease = await t.claimOne();
  const { cancel } = await timeOutRun(t.sql, runId);
  expect(cancel).toEqual([runId]);
  expect((await t.run(runId)).status).toBe('cancelling');
  expect((await targetRuns(t, runId)).map((target) => target.status)).toEqual(['cancelling', 'timed_out']);
  await t.settle(endOf(lease, { status: 'cancelled', reason: 'cancelled' }));
  expect((await t.steps(runId)).map((step) => step.status)).toEqual(Array(4).fill('timed_out'));
  const told = 'The run’s timeout of 60 s had passed.';
  expect((await t.steps(runId))[0]).toMatchObject({ reason: 'run_timeout', errorMessage: told });
  expect((await t.steps(runId)).map((step) => step.reason)).toEqual(Array(4).fill('run_timeout'));
  expect(await t.run(runId)).toMatchObject({ status: 'timed_out', errorMessage: told });
});

test.each([
  ['succeeds', success, 0],
  ['fails', failure, 1],
])('a host of an earlier batch that %s late counts for that batch alone', async (_, late, failures) => {
  await using t = await setupRuns();
  const strategy = { batches: [2, 3], max_failures: 10, batch_max_failures: 1 };
  const runId = await t.start({ targets: 8, job: { strategy } });
  const [unknown, good] = await t.claim();
  if (unknown === undefined || good === undefined) throw new Error('two were to be claimed');
  await t.settle(givenUp(unknown), endOf(good));
  const [first, second, third] = await t.claim();
  if (first === undefined || second === undefined || third === undefined) throw new Error('not three');
  await t.settle(endOf(first, failure));
  await t.settle(endOf(unknown, late));
  const batch = async () =>
    (await t.sql`select batch_number, batch_failures, halted_reason from job_runs`)[0];
  // One failure in this batch is within the limit, whatever has become of the one before.
  expect(await batch()).toEqual({ batchNumber: 2, batchFailures: failures, haltedReason: null });
  await t.settle(endOf(second, failure));
  expect((await batch())?.['haltedReason']).toMatch(
    /^Stopped when 2 hosts .* in batch 2: batch_max_failures is 1/,
  );
  await t.settle(endOf(third));
  expect((await t.run(runId)).status).toBe('failed');
});

test('a host that is given up and comes back in the open batch is no failure of that batch', async () => {
  await using t = await setupRuns();
  const strategy = { batches: [1, 3], max_failures: 10, batch_max_failures: 1 };
  await t.start({ targets: 8, job: { strategy } });
  await t.settle(endOf(await t.claimOne(), failure));
  const [unknown, other, last] = await t.claim();
  if (unknown === undefined || other === undefined || last === undefined) throw new Error('not three');
  await markLeased(t.sql, [unknown, other, last]);
  await t.settle(givenUp(unknown));
  await t.settle(endOf(unknown));
  await t.settle(endOf(other, failure), endOf(last));
  expect(await t.sql`select batch_number, batch_failures, halted_reason from job_runs`).toEqual([
    { batchNumber: 3, batchFailures: 2, haltedReason: null },
  ]);
});
