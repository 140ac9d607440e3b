import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { markStarted } from '../../store/agents/agent-sessions.ts';
import { claimOnce } from '../../store/queue/claims/claims.ts';
import {
  attemptsToStop,
  attemptsToStopOn,
  cancellingTargetRuns,
  overdueAttempts,
  runsNotStarted,
} from '../../store/queue/sweep/sweep.ts';
import { LeaseBuilder } from '../leases/lease-builder.ts';
import { returnLeases } from '../leases/return-leases.ts';
import {
  blockedBackends,
  endOf,
  failure,
  givenUp,
  holdTransaction,
  setupRuns,
  success,
  type TestRuns,
  testServerId,
} from '../testing.ts';
import { explainRun } from '../view/explain-run.ts';
import { cancelRun } from './cancel-run.ts';
import { cancelTargetRun } from './cancel-target-run.ts';
import { CleanUpRequests } from './clean-up-requests.ts';
import { decideHeld } from './decide-held.ts';
import { endUnstarted } from './end-waits.ts';
import { timeOutRun } from './time-out-run.ts';

const cancelled = { status: 'cancelled', reason: 'cancelled' } as const;
let t: TestRuns;
beforeEach(async () => {
  t = await setupRuns();
});
afterEach(() => t[Symbol.asyncDispose]());

const targetRuns = (runId: number) => t.sql<
  { id: number; status: string; endReason: string | null; isOpen: boolean }[]
>`
  select id, status, end_reason, is_open from job_run_targets where job_run_id = ${runId} order by id`;
const statuses = async (runId: number) => (await targetRuns(runId)).map(({ status }) => status);
const steps = async (runId: number) => (await t.steps(runId)).map(({ status }) => status);

/** Cancels the target run at this place in its run, counted from 0. */
async function cancel(runId: number, at = 0, force = false) {
  const targetRunId = (await targetRuns(runId))[at]?.id ?? 0;
  return cancelTargetRun(t.sql, { runId, targetRunId }, t.caller, { force });
}

test('a target run that waits ends at once, its run goes on, and what became of it is told', async () => {
  const runId = await t.start({ targets: 2, steps: 2 });
  const news = await cancel(runId);
  expect(news).toMatchObject({ runs: [{ id: runId }], cancel: [] });
  expect(await targetRuns(runId)).toMatchObject([
    { status: 'cancelled', endReason: `Cancelled by ${t.caller.name} before it began.` },
    { status: 'queued', endReason: null },
  ]);
  expect(await steps(runId)).toEqual(['cancelled', 'cancelled', 'ready', 'pending']);
  expect(await t.run(runId)).toMatchObject({ status: 'queued', completedSteps: 2, failedSteps: 0 });
  const [event] =
    await t.sql`select change from run_events where job_run_id = ${runId} order by seq desc limit 1`;
  expect(event?.change.targetRuns).toMatchObject([{ status: 'cancelled', cancelRequestedBy: t.caller.name }]);
  // Repeating it changes nothing.
  expect(await cancel(runId)).toMatchObject({ runs: [] });
  await t.settle(endOf(await t.claimOne()));
  await t.settle(endOf(await t.claimOne()));
  expect(await t.run(runId)).toMatchObject({ status: 'cancelled', completedSteps: 4, failedSteps: 0 });
  const audited =
    await t.sql`select action, object_id, detail from audit_log where action like 'run.target%'`;
  expect(audited).toMatchObject([
    { action: 'run.target_cancel_requested', objectId: String(runId), detail: { target: 'host-1' } },
  ]);
});

test('the step that runs is told to stop, those after it end with it, and other targets are left alone', async () => {
  const runId = await t.start({ targets: 2, steps: 2 });
  const [mine, other] = await t.claim();
  if (mine === undefined || other === undefined) throw new Error('not leased');
  const news = await cancel(runId);
  expect(news.cancelTargetRuns).toEqual([mine.targetRunId]);
  expect(await statuses(runId)).toEqual(['cancelling', 'queued']);
  const stopped = [{ stepId: mine.id, epoch: 1, agentId: t.agent.agentId }];
  expect(await attemptsToStopOn(t.sql, [mine.targetRunId, other.targetRunId])).toEqual(stopped);
  expect(await attemptsToStop(t.sql, [runId])).toEqual([]);
  expect(await cancellingTargetRuns(t.sql, testServerId)).toEqual([mine.targetRunId]);
  const { results } = await t.settle(
    endOf(mine, cancelled, { wantsNext: true }),
    endOf(other, success, { wantsNext: true }),
  );
  expect(results.map(({ next }) => next?.targetRunId)).toEqual([undefined, other.targetRunId]);
  expect(await steps(runId)).toEqual(['cancelled', 'cancelled', 'succeeded', 'running']);
  expect(await statuses(runId)).toEqual(['cancelled', 'running']);
  expect(await cancellingTargetRuns(t.sql, testServerId)).toEqual([]);
});

test('a step that succeeds although it was to be stopped is followed by none, and its target run is cancelled', async () => {
  const runId = await t.start({ targets: 2, steps: 3 });
  const [mine] = await t.claim();
  if (mine === undefined) throw new Error('not leased');
  await cancel(runId);
  await t.settle(endOf(mine, success, { wantsNext: true, ahead: 2 }));
  expect((await steps(runId)).slice(0, 3)).toEqual(['succeeded', 'cancelled', 'cancelled']);
  expect(await statuses(runId)).toEqual(['cancelled', 'queued']);
});

test('steps that were leased ahead of their turn are told to stop, and closed if they have not begun', async () => {
  const runId = await t.start({ targets: 2, steps: 4 });
  const [mine] = await t.claim();
  if (mine === undefined) throw new Error('not leased');
  const { results } = await t.settle(endOf(mine, success, { wantsNext: true, ahead: 2 }));
  const second = results[0]?.next;
  if (second === undefined) throw new Error('not leased');
  expect((await steps(runId)).slice(0, 4)).toEqual(['succeeded', 'running', 'running', 'running']);
  await cancel(runId);
  expect(await attemptsToStopOn(t.sql, [mine.targetRunId])).toHaveLength(3);
  await t.settle(endOf(second, cancelled));
  expect((await steps(runId)).slice(0, 4)).toEqual(['succeeded', ...Array(3).fill('cancelled')]);
  expect(await statuses(runId)).toEqual(['cancelled', 'queued']);
});

test('what the run waits for says which host is being stopped, and since when', async () => {
  const runId = await t.start({ targets: 2 });
  const [mine, other] = await t.claim();
  if (mine === undefined || other === undefined) throw new Error('not leased');
  await t.sql`update job_run_steps set started_at = clock_timestamp() where status = 'running'`;
  expect((await explainRun(t.sql, runId, t.caller.authority)).waits).toEqual([]);
  await cancel(runId);
  const [{ cancelRequestedAt }] = await t.sql<[{ cancelRequestedAt: Date }]>`
    select cancel_requested_at from job_run_targets where id = ${mine.targetRunId}`;
  expect((await explainRun(t.sql, runId, t.caller.authority)).waits).toMatchObject([
    {
      code: 'stopping',
      targets: 1,
      examples: [{ targetRunId: mine.targetRunId }],
      since: cancelRequestedAt.toISOString(),
    },
  ]);
});

test('clean-up steps still run, and are not stopped', async () => {
  const runId = await t.start({ targets: 2, rules: [{}, {}, { when_status: 'always' }] });
  await t.connect(t.agent, { slots: 1 });
  const mine = await t.claimOne();
  await cancel(runId);
  await t.settle(endOf(mine, cancelled));
  expect((await steps(runId)).slice(0, 3)).toEqual(['cancelled', 'cancelled', 'ready']);
  expect(await statuses(runId)).toEqual(['cancelling', 'queued']);
  const cleaning = await t.claimOne();
  expect(cleaning.targetRunId).toBe(mine.targetRunId);
  expect(await attemptsToStopOn(t.sql, [mine.targetRunId])).toEqual([]);
  await t.settle(endOf(cleaning));
  expect(await statuses(runId)).toEqual(['cancelled', 'queued']);
});

test('a step that waits for its next try ends, and its clean-up steps run', async () => {
  const retry = { retry: { attempts: 3, delay: 60 } };
  const runId = await t.start({ targets: 2, rules: [retry, { when_status: 'failure' }] });
  const [mine] = await t.claim();
  if (mine === undefined) throw new Error('not leased');
  await t.settle(endOf(mine, failure));
  expect((await steps(runId))[0]).toBe('ready');
  await cancel(runId);
  expect((await steps(runId)).slice(0, 2)).toEqual(['cancelled', 'ready']);
  await t.settle(endOf(await t.claimOne()));
  expect(await statuses(runId)).toEqual(['cancelled', 'queued']);
});

test('a step that waits for a decision ends unknown, because nobody knows what became of it', async () => {
  const runId = await t.start({ targets: 2, rules: [{ on_unknown: 'hold' }, {}] });
  const [mine, other] = await t.claim();
  if (mine === undefined || other === undefined) throw new Error('not leased');
  await t.settle(givenUp(mine), givenUp(other));
  expect(await t.run(runId)).toMatchObject({ status: 'held' });
  const requests = new CleanUpRequests({ sql: t.sql, builder: new LeaseBuilder(t) });
  const agent = { ...t.agent, segmentId: t.segmentId };
  expect(await requests.requestFor(agent)).toBeUndefined();
  await cancel(runId);
  expect(await statuses(runId)).toEqual(['unknown', 'held']);
  expect((await t.steps(runId))[0]?.errorMessage).toMatch(
    /The host was cancelled while the step waited for a dec/,
  );
  expect((await requests.requestFor(agent))?.attempts).toMatchObject([{ step: mine.id }]);
  expect(await t.run(runId)).toMatchObject({ status: 'held' });
  await decideHeld(t.sql, runId, { decision: 'succeeded', note: 'looked' }, t.caller);
  expect(await statuses(runId)).toEqual(['unknown', 'running']);
});

test('a forced cancel waits for no agent, whether or not the target run is being cancelled already', async () => {
  const runId = await t.start({ targets: 2, rules: [{}, { when_status: 'always' }] });
  const [begun, other] = await t.claim();
  if (begun === undefined || other === undefined) throw new Error('not leased');
  await markStarted(t.sql, [{ step: begun.id, ...begun }]);
  await cancel(runId);
  await cancel(runId, 0, true);
  expect(await steps(runId)).toEqual(['unknown', 'cancelled', 'running', 'pending']);
  expect((await t.steps(runId))[0]).toMatchObject({ reason: 'cancel_forced' });
  // Its agent goes on being told to stop it, and what it reports decides the step while the run is open.
  expect(await attemptsToStopOn(t.sql, [begun.targetRunId])).toHaveLength(1);
  await t.settle(endOf(begun, cancelled));
  expect(await statuses(runId)).toEqual(['cancelled', 'queued']);
  expect(await attemptsToStopOn(t.sql, [begun.targetRunId])).toEqual([]);
  const actions = await t.sql`select action from audit_log where action like 'run.target%' order by id`;
  expect(actions.map((row) => row.action)).toEqual([
    'run.target_cancel_requested',
    'run.target_cancel_forced',
  ]);
});

test('in a run that is being cancelled it changes nothing, unless it is forced', async () => {
  const runId = await t.start({ targets: 2 });
  expect(await t.claim()).toHaveLength(2);
  await cancelRun(t.sql, runId, t.caller);
  expect(await cancel(runId)).toMatchObject({ runs: [] });
  await cancel(runId, 0, true);
  expect(await statuses(runId)).toEqual(['unknown', 'cancelling']);
});

test('one that has ended by itself is refused, saying how it ended, as is one that is not in the run', async () => {
  const runId = await t.start({ targets: 2 });
  const [mine, other] = await t.claim();
  if (mine === undefined || other === undefined) throw new Error('not leased');
  await t.settle(endOf(mine));
  await expect(cancel(runId)).rejects.toMatchObject({
    code: 'conflict',
    message: `“host-1” has already ended in run ${runId}: it is succeeded.`,
  });
  const elsewhere = await t.start();
  const name = { runId: elsewhere, targetRunId: other.targetRunId };
  await expect(cancelTargetRun(t.sql, name, t.caller)).rejects.toMatchObject({ code: 'not_found' });
  expect(await t.sql`select from audit_log where action like 'run.target%'`).toHaveLength(0);
});

test('attempts that were given up are stopped on request; a late result decides the step, and nothing follows', async () => {
  const runId = await t.start({ targets: 2, steps: 2 });
  const [lost] = await t.claim();
  if (lost === undefined) throw new Error('not leased');
  await t.settle(givenUp(lost));
  expect(await statuses(runId)).toEqual(['unknown', 'queued']);
  expect(await cancel(runId)).toMatchObject({ cancelTargetRuns: [lost.targetRunId] });
  expect(await attemptsToStopOn(t.sql, [lost.targetRunId])).toMatchObject([{ stepId: lost.id, epoch: 1 }]);
  expect(await statuses(runId)).toEqual(['unknown', 'queued']);
  await t.settle(endOf(lost, success));
  expect(await statuses(runId)).toEqual(['cancelled', 'queued']);
  expect((await steps(runId)).slice(0, 2)).toEqual(['succeeded', 'cancelled']);
});

test('a step that is being leased while its target run is cancelled is stopped by its agent', async () => {
  const runId = await t.start({ targets: 2, steps: 2 });
  await t.connect(t.agent, { slots: 1 });
  const commit = await holdTransaction(t.sql, (tx) => claimOnce(tx, testServerId));
  const cancelling = cancel(runId);
  await blockedBackends(t.sql, 1);
  await commit();
  const { cancelTargetRuns = [] } = await cancelling;
  expect(await statuses(runId)).toEqual(['cancelling', 'queued']);
  expect(await steps(runId)).toEqual(['running', 'pending', 'ready', 'pending']);
  expect(await attemptsToStopOn(t.sql, cancelTargetRuns)).toHaveLength(1);
});

test('a lease that comes back unbegun ends with its target run', async () => {
  const runId = await t.start({ targets: 2, steps: 2 });
  const [mine] = await t.claim();
  if (mine === undefined) throw new Error('not leased');
  await cancel(runId);
  await returnLeases(t.sql, [{ ...mine, stepId: mine.id }]);
  expect((await steps(runId)).slice(0, 2)).toEqual(['cancelled', 'cancelled']);
  expect(await statuses(runId)).toEqual(['cancelled', 'queued']);
});

test('if its agent is silent, the step becomes unknown 30 s after the cancel', async () => {
  const runId = await t.start({ targets: 2 });
  const [mine] = await t.claim();
  if (mine === undefined) throw new Error('not leased');
  await cancel(runId);
  await t.sql`update agent_sessions set expires_at = clock_timestamp() - interval '1 s'`;
  expect(await overdueAttempts(t.sql, 30)).toEqual([]);
  await t.sql`update job_run_targets set cancel_requested_at = cancel_requested_at - interval '31 s'`;
  expect(await overdueAttempts(t.sql, 30)).toMatchObject([{ stepId: mine.id, cause: 'cancel' }]);
});

test('when the run times out later, the target run that was cancelled before is cancelled, not timed out', async () => {
  const runId = await t.start({ targets: 2, steps: 2 });
  const [mine, other] = await t.claim();
  if (mine === undefined || other === undefined) throw new Error('not leased');
  await cancel(runId);
  await timeOutRun(t.sql, runId);
  await t.settle(endOf(mine, cancelled), endOf(other, cancelled));
  expect(await statuses(runId)).toEqual(['cancelled', 'timed_out']);
  expect(await steps(runId)).toEqual(['cancelled', 'cancelled', 'timed_out', 'timed_out']);
});

test('a run none of whose other steps began in time still ends', async () => {
  const runId = await t.start({ targets: 2 });
  await cancel(runId);
  await t.sql`update job_runs set start_by = clock_timestamp() - interval '1 s'`;
  expect(await runsNotStarted(t.sql)).toEqual([runId]);
  await endUnstarted(t.sql, runId);
  expect(await statuses(runId)).toEqual(['cancelled', 'timed_out']);
  expect(await t.run(runId)).toMatchObject({ status: 'timed_out' });
});

describe('with a strategy', () => {
  const strategic = (strategy: object, targets: number) => t.start({ targets, job: { strategy } });
  const open = async (runId: number) =>
    (await targetRuns(runId)).flatMap(({ isOpen, status }, at) =>
      isOpen && status !== 'cancelled' ? [at] : [],
    );
  const settleAll = async () => {
    for (const step of await t.claim()) await t.settle(endOf(step));
  };

  test('the next target begins in its place', async () => {
    const runId = await strategic({ max_parallel: 1 }, 3);
    expect(await open(runId)).toEqual([0]);
    await cancel(runId, 0);
    expect(await open(runId)).toEqual([1]);
  });

  test('one that has not opened yet leaves the others where they are', async () => {
    const runId = await strategic({ max_parallel: 1 }, 4);
    await cancel(runId, 1);
    expect([await open(runId), await statuses(runId)]).toEqual([
      [0],
      ['queued', 'cancelled', 'queued', 'queued'],
    ]);
    await settleAll();
    expect(await open(runId)).toEqual([0, 2]);
    await cancel(runId, 3);
    await settleAll();
    expect(await t.run(runId)).toMatchObject({ status: 'cancelled' });
  });

  test('one of a later batch does not open that batch, and the batches after it keep their sizes', async () => {
    const runId = await strategic({ batches: [2] }, 7);
    await cancel(runId, 3);
    const [first, second] = await t.claim();
    if (first === undefined || second === undefined) throw new Error('not leased');
    await t.settle(endOf(first));
    expect(await open(runId)).toEqual([0, 1]);
    await t.settle(endOf(second));
    expect(await open(runId)).toEqual([0, 1, 2, 4]);
    await settleAll();
    expect(await open(runId)).toEqual([0, 1, 2, 4, 5, 6]);
    await settleAll();
    expect(await t.run(runId)).toMatchObject({ status: 'cancelled' });
  });

  test('it is no failure, but counts as one if it ends unknown', async () => {
    const runId = await strategic({ max_parallel: 1, max_failures: 0 }, 3);
    await cancel(runId, 0);
    expect(await open(runId)).toEqual([1]);
    expect(await t.claim()).toHaveLength(1);
    await cancel(runId, 1, true);
    expect(await statuses(runId)).toEqual(['cancelled', 'unknown', 'cancelled']);
    expect(await t.run(runId)).toMatchObject({ status: 'unknown' });
  });

  test('a limit on the failures of a batch is a share of its planned size', async () => {
    const runId = await strategic({ batches: [2], batch_max_failures: '50%', max_failures: 7 }, 6);
    for (const at of [3, 4]) await cancel(runId, at);
    const [first, second] = await t.claim();
    if (first === undefined || second === undefined) throw new Error('not leased');
    await t.settle(endOf(first, failure), endOf(second, failure));
    expect(await statuses(runId)).toEqual(['failed', 'failed', ...Array(4).fill('cancelled')]);
  });
});

test('a server of the version before, which goes on with the host, is not refused what it writes', async () => {
  const runId = await t.start({ targets: 2, steps: 2 });
  const [mine] = await t.claim();
  if (mine === undefined) throw new Error('not leased');
  await cancel(runId);
  await t.sql`update job_run_targets set status = 'running' where id = ${mine.targetRunId}`;
  expect(await statuses(runId)).toEqual(['cancelling', 'queued']);
  await cancelRun(t.sql, runId, t.caller);
  const [, other] = await targetRuns(runId);
  const wrong = t.sql`update job_run_targets set status = 'running' where id = ${other?.id ?? 0}`;
  await expect(wrong).rejects.toThrow(/cancelling/);
});
