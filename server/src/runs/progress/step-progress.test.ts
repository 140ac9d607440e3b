import type { StepOutcome } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import type { ClaimedStep } from '../../store/queue/claims/claims.ts';
import { cancelRun } from '../ends/cancel-run.ts';
import { endOf, failure, givenUp, setupRuns, success, type TestRuns } from '../testing.ts';

const cleaning = [{}, {}, { when_status: 'failure' }, { when_status: 'always' }] as const;
const holding = [{ on_unknown: 'hold', hold_for: 600 }, {}] as const;

async function statuses(t: TestRuns, runId: number): Promise<string> {
  return (await t.steps(runId)).map((step) => step.status).join(' ');
}

async function targetStatuses(t: TestRuns, runId: number): Promise<string[]> {
  const rows = await t.sql`select status from job_run_targets where job_run_id = ${runId} order by id`;
  return rows.map((row) => row.status);
}

/** Leases the one step that is ready and ends it with this outcome. */
async function next(t: TestRuns, outcome: StepOutcome = success): Promise<ClaimedStep> {
  const lease = await t.claimOne();
  await t.settle(endOf(lease, outcome));
  return lease;
}

test('clean-up steps follow a failure, and the target run ends as the step that failed first', async () => {
  await using t = await setupRuns();
  const runId = await t.start({ rules: cleaning });
  await next(t, { status: 'timed_out', reason: 'timed_out' });
  expect(await statuses(t, runId)).toBe('timed_out skipped ready pending');
  await next(t, failure);
  await next(t);
  expect(await statuses(t, runId)).toBe('timed_out skipped failed succeeded');
  expect(await targetStatuses(t, runId)).toEqual(['timed_out']);
  expect(await t.run(runId)).toMatchObject({ status: 'timed_out', completedSteps: 4, failedSteps: 2 });
});

test('if all goes well, steps for a failure are not needed', async () => {
  await using t = await setupRuns();
  const runId = await t.start({ rules: cleaning });
  const first = await t.claimOne();
  const { results } = await t.settle(endOf(first, success, { wantsNext: true }));
  const second = results[0]?.next;
  if (second === undefined) throw new Error('no next step');
  const third = await t.settle(endOf(second, success, { wantsNext: true }));
  expect(third.results[0]?.next).toMatchObject({ stepNumber: 4 });
  if (third.results[0]?.next !== undefined) await t.settle(endOf(third.results[0].next));
  expect(await t.steps(runId)).toMatchObject([{}, {}, { status: 'skipped', reason: 'when_status' }, {}]);
  expect(await t.run(runId)).toMatchObject({ status: 'succeeded', completedSteps: 4 });
});

test('a cancel stops running steps, lets clean-up steps run, and is not sent to these', async () => {
  await using t = await setupRuns();
  const runId = await t.start({ rules: cleaning });
  const lease = await t.claimOne();
  await cancelRun(t.sql, runId, t.caller);
  await t.settle(endOf(lease, { status: 'cancelled', reason: 'cancelled' }));
  expect(await statuses(t, runId)).toBe('cancelled cancelled ready pending');
  expect(await t.run(runId)).toMatchObject({ status: 'cancelling' });
  await next(t);
  await next(t);
  expect(await statuses(t, runId)).toBe('cancelled cancelled succeeded succeeded');
  expect(await t.run(runId)).toMatchObject({ status: 'cancelled', completedSteps: 4 });
});

test('a cancel between two steps lets clean-up steps run if the target run had begun', async () => {
  await using t = await setupRuns();
  const runId = await t.start({ rules: cleaning, targets: 2 });
  await t.connect(t.agent, { slots: 1 });
  await next(t);
  await cancelRun(t.sql, runId, t.caller);
  const rows = (await statuses(t, runId)).split(' ');
  expect(rows.slice(0, 4)).toEqual(['succeeded', 'cancelled', 'ready', 'pending']);
  expect(rows.slice(4)).toEqual(Array(4).fill('cancelled'));
  await next(t);
  await next(t);
  expect(await targetStatuses(t, runId)).toEqual(['cancelled', 'cancelled']);
  expect(await t.run(runId)).toMatchObject({ status: 'cancelled', completedSteps: 8 });
});

test('a step is retried after a delay, each try in a row of its own, until it has no more', async () => {
  await using t = await setupRuns();
  const runId = await t.start({ rules: [{ retry: { attempts: 3, delay: 60 } }, {}] });
  for (const number of [1, 2]) {
    await next(t, failure);
    const [step] = await t.steps(runId);
    expect(step).toMatchObject({ status: 'ready', epoch: number, reason: null });
    expect(step?.advice).toBe(`Try ${number} of 3 ended failed: exit code 3`);
    expect(await t.claim()).toEqual([]);
    const [wait] = await t.sql`
      select extract(epoch from not_before - clock_timestamp())::float8 as s from job_run_steps where id = ${step?.id ?? 0}`;
    expect(wait?.s).toBeGreaterThan(60 * number * 0.8 - 5);
    expect(wait?.s).toBeLessThanOrEqual(60 * number * 1.2);
    await t.sql`update job_run_steps set not_before = clock_timestamp() where id = ${step?.id ?? 0}`;
  }
  expect(await t.run(runId)).toMatchObject({ status: 'running', completedSteps: 0, failedSteps: 0 });
  await next(t, failure);
  expect(await statuses(t, runId)).toBe('failed skipped');
  expect(await t.run(runId)).toMatchObject({ status: 'failed', completedSteps: 2, failedSteps: 1 });
  const attempts = await t.sql`
    select a.epoch, a.status, a.exit_code from job_run_step_attempts a join job_run_steps s on s.id = a.job_run_step_id
    where s.job_run_id = ${runId} order by a.epoch`;
  expect(attempts).toEqual([1, 2, 3].map((epoch) => ({ epoch, status: 'failed', exitCode: 3 })));
});

test('a run that is being cancelled retries nothing', async () => {
  await using t = await setupRuns();
  const runId = await t.start({ rules: [{ retry: { attempts: 3, delay: 0 } }] });
  const lease = await t.claimOne();
  await cancelRun(t.sql, runId, t.caller);
  await t.settle(endOf(lease, failure));
  expect(await t.run(runId)).toMatchObject({ status: 'failed' });
});

test('a cancel ends a step that waits for its retry', async () => {
  await using t = await setupRuns();
  const runId = await t.start({ rules: [{ retry: { attempts: 3 } }, {}] });
  await next(t, failure);
  await cancelRun(t.sql, runId, t.caller);
  expect(await statuses(t, runId)).toBe('cancelled cancelled');
  expect(await t.run(runId)).toMatchObject({ status: 'cancelled' });
});

test('an unknown attempt of an idempotent step is retried; its late result decides nothing', async () => {
  await using t = await setupRuns();
  const runId = await t.start({ rules: [{ on_unknown: 'retry', idempotent: true }] });
  const lease = await t.claimOne();
  await t.settle(givenUp(lease));
  const again = await t.claimOne();
  expect(again).toMatchObject({ id: lease.id, epoch: 2 });
  const { results } = await t.settle(endOf(lease, failure));
  expect(results).toMatchObject([{ result: 'superseded' }]);
  expect(await statuses(t, runId)).toBe('running');
  await t.settle(givenUp(again));
  expect(await t.run(runId)).toMatchObject({ status: 'unknown', completedSteps: 1 });
  const [run] = await t.sql`select late_results from job_runs where id = ${runId}`;
  expect(run).toEqual({ lateResults: 1 });
});

test('a held step holds its target run, and the run if nothing else goes on', async () => {
  await using t = await setupRuns();
  const runId = await t.start({ rules: holding, targets: 2 });
  const [held, other] = await t.claim();
  if (held === undefined || other === undefined) throw new Error('not leased');
  await t.settle(givenUp(held));
  expect(await targetStatuses(t, runId)).toEqual(['held', 'queued']);
  await t.settle(givenUp(other));
  expect(await statuses(t, runId)).toBe('held pending held pending');
  expect(await t.run(runId)).toMatchObject({ status: 'held', completedSteps: 0, errorMessage: null });
  const [row] = await t.sql`
    select r.targets_held, r.targets_running, extract(epoch from s.held_until - clock_timestamp())::int as left_s
    from job_runs r join job_run_steps s on s.job_run_id = r.id and s.id = ${held.id}`;
  expect(row).toMatchObject({ targetsHeld: 2, targetsRunning: 0 });
  expect(row?.leftS).toBeGreaterThan(590);
});

test.each<[StepOutcome, string, string]>([
  [success, 'succeeded ready', 'running'],
  [failure, 'failed skipped', 'failed'],
  [{ status: 'timed_out', reason: 'timed_out' }, 'timed_out skipped', 'timed_out'],
])('the late result of a held step decides it: %o', async (outcome, steps, run) => {
  await using t = await setupRuns();
  const runId = await t.start({ rules: holding });
  const lease = await t.claimOne();
  await t.settle(givenUp(lease));
  const { results } = await t.settle(endOf(lease, outcome, { wantsNext: true }));
  expect(results).toEqual([{ stepId: lease.id, epoch: 1, result: 'settled' }]);
  expect(await statuses(t, runId)).toBe(steps);
  expect(await t.run(runId)).toMatchObject({ status: run });
  const [row] = await t.sql`select targets_held from job_runs where id = ${runId}`;
  expect(row).toEqual({ targetsHeld: 0 });
});

/** Starts two targets with two steps each, and gives up the first step of the first target. */
async function withOneUnknown(t: TestRuns, rules: Parameters<TestRuns['start']>[0] = { steps: 2 }) {
  const runId = await t.start({ ...rules, targets: 2 });
  const [lost, other] = await t.claim();
  if (lost === undefined || other === undefined) throw new Error('not leased');
  await t.settle(givenUp(lost));
  return { runId, lost, other };
}

test('in an open run, a late success continues where it was left, once, with correct counters', async () => {
  await using t = await setupRuns();
  const { runId, lost, other } = await withOneUnknown(t);
  expect(await t.run(runId)).toMatchObject({ completedSteps: 2, errorMessage: expect.any(String) });
  const { results } = await t.settle(endOf(lost, success));
  expect(results).toMatchObject([{ result: 'settled' }]);
  expect(await statuses(t, runId)).toBe('succeeded ready running pending');
  expect(await t.run(runId)).toMatchObject({ status: 'running', completedSteps: 1, errorMessage: null });
  const again = await t.settle(endOf(lost, failure));
  expect(again.results).toMatchObject([{ result: 'superseded' }]);
  await next(t);
  const { results: rest } = await t.settle(endOf(other, success, { wantsNext: true }));
  if (rest[0]?.next !== undefined) await t.settle(endOf(rest[0].next));
  expect(await t.run(runId)).toMatchObject({ status: 'succeeded', completedSteps: 4, failedSteps: 0 });
  const [counts] = await t.sql`
    select targets_succeeded, targets_unknown, targets_running, late_results from job_runs where id = ${runId}`;
  expect(counts).toEqual({ targetsSucceeded: 2, targetsUnknown: 0, targetsRunning: 0, lateResults: 0 });
});

test('a late result decides its step even if nobody said why the attempt had become unknown', async () => {
  await using t = await setupRuns();
  const runId = await t.start({ steps: 2, targets: 2 });
  const [lost] = await t.claim();
  if (lost === undefined) throw new Error('not leased');
  await t.settle(endOf(lost, { status: 'unknown' }));
  expect(await t.run(runId)).toMatchObject({ errorMessage: expect.stringMatching(/, step 1: unknown$/) });
  const { results } = await t.settle(endOf(lost, success));
  expect(results).toMatchObject([{ result: 'settled' }]);
  expect(await t.run(runId)).toMatchObject({ status: 'running', errorMessage: null });
});

test('in an open run, a late failure fails its target run, and clean-up steps run', async () => {
  await using t = await setupRuns();
  const { runId, lost } = await withOneUnknown(t, { rules: [{}, {}, { when_status: 'failure' }] });
  expect(await statuses(t, runId)).toBe('unknown skipped skipped running pending pending');
  await t.settle(endOf(lost, failure));
  expect(await statuses(t, runId)).toBe('failed skipped ready running pending pending');
  await next(t);
  expect(await targetStatuses(t, runId)).toEqual(['failed', 'queued']);
  expect(await t.run(runId)).toMatchObject({ completedSteps: 3, failedSteps: 1 });
});

test('a late failure is retried if its step says so', async () => {
  await using t = await setupRuns();
  const { runId, lost } = await withOneUnknown(t, { rules: [{ retry: { attempts: 2, delay: 0 } }] });
  await t.settle(endOf(lost, failure));
  expect(await statuses(t, runId)).toBe('ready running');
  expect(await t.claimOne()).toMatchObject({ id: lost.id, epoch: 2 });
});

test('a late result in a run that is being cancelled is followed by none', async () => {
  await using t = await setupRuns();
  const { runId, lost, other } = await withOneUnknown(t);
  await cancelRun(t.sql, runId, t.caller);
  await t.settle(endOf(lost, success));
  expect(await statuses(t, runId)).toBe('succeeded cancelled running pending');
  expect(await targetStatuses(t, runId)).toEqual(['cancelled', 'cancelling']);
  await t.settle(endOf(other, { status: 'cancelled', reason: 'cancelled' }));
  expect(await t.run(runId)).toMatchObject({ status: 'cancelled', completedSteps: 4 });
});

test.each<[StepOutcome, string]>([
  [{ status: 'cancelled', reason: 'cancelled' }, 'cancelled'],
  [failure, 'failed'],
  [success, 'cancelled'],
])('after a late result in a run that is being cancelled, clean-up steps run: %o', async (outcome, end) => {
  await using t = await setupRuns();
  const { runId, lost, other } = await withOneUnknown(t, { rules: [{}, { when_status: 'always' }] });
  await cancelRun(t.sql, runId, t.caller);
  const { results } = await t.settle(endOf(lost, outcome));
  expect(results).toMatchObject([{ result: 'settled' }]);
  expect(await statuses(t, runId)).toBe(`${outcome.status} ready running pending`);
  expect(await targetStatuses(t, runId)).toEqual(['cancelling', 'cancelling']);
  await next(t);
  expect(await targetStatuses(t, runId)).toEqual([end, 'cancelling']);
  await t.settle(endOf(other, { status: 'cancelled', reason: 'cancelled' }));
  await next(t);
  expect(await t.run(runId)).toMatchObject({ status: 'cancelled', completedSteps: 4 });
});

test('a late result that comes together with what ends its run is recorded, and changes no outcome', async () => {
  await using t = await setupRuns();
  const runId = await t.start({ targets: 2 });
  const [lost, other] = await t.claim();
  if (lost === undefined || other === undefined) throw new Error('not leased');
  await t.settle(givenUp(lost));
  const { results } = await t.settle(givenUp(other), endOf(lost, success));
  expect(results).toMatchObject([{ result: 'settled' }, { result: 'superseded' }]);
  expect(await t.run(runId)).toMatchObject({ status: 'unknown', completedSteps: 2 });
  expect(await t.steps(runId)).toMatchObject([
    { status: 'unknown', advice: expect.stringMatching(/has since reported: succeeded/) },
    { status: 'unknown' },
  ]);
});

test('a late result of a clean-up step is recorded, and its target run keeps the outcome of the earlier failure', async () => {
  await using t = await setupRuns();
  const runId = await t.start({
    targets: 2,
    rules: [{}, { when_status: 'always' }, { when_status: 'always' }],
  });
  await t.connect(t.agent, { slots: 1 });
  await t.settle(endOf(await t.claimOne(), failure));
  const cleaning = await t.claimOne();
  await t.settle(givenUp(cleaning));
  const late = await t.settle(endOf(cleaning, success));
  expect(late.results).toMatchObject([{ result: 'superseded' }]);
  expect(await t.steps(runId)).toMatchObject([
    { status: 'failed' },
    { id: cleaning.id, status: 'unknown', advice: expect.stringMatching(/has since reported: succeeded/) },
    { status: 'skipped' },
    {},
    {},
    {},
  ]);
});

test('an agent that comes back without knowing the outcome either decides nothing', async () => {
  await using t = await setupRuns();
  const { runId, lost } = await withOneUnknown(t);
  const { results } = await t.settle(endOf(lost, { status: 'unknown', reason: 'agent_restarted' }));
  expect(results).toMatchObject([{ result: 'superseded' }]);
  expect(await statuses(t, runId)).toBe('unknown skipped running pending');
});
