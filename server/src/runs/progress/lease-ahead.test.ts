// Steps that are leased to an agent ahead of their turn: how they are leased, and how their ends are settled.
import type { RunChange } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { claimSteps } from '../../store/queue/claims/claims.ts';
import { listSteps } from '../../store/runs/runs.ts';
import { leasedAhead, leaseOf, more, statusesOf } from '../ahead-testing.ts';
import { markLeased } from '../leases/mark-leased.ts';
import { returnLeases } from '../leases/return-leases.ts';
import { endOf, failure, givenUp, setupRuns, success, testServerId } from '../testing.ts';
import { stepView } from '../view/run-view.ts';

test('an agent that ends a step is leased the next one, and more ahead of their turn, each after the one before', async () => {
  await using t = await setupRuns();
  const { runId, next, third, fourth } = await leasedAhead(t);
  expect(next).not.toHaveProperty('after');
  expect(third.after).toEqual({ step: next.id, epoch: 1 });
  expect(fourth.after).toEqual({ step: third.id, epoch: 1 });
  expect(fourth).toMatchObject({ agentId: t.agent.agentId, sessionNumber: t.agent.sessionNumber, epoch: 1 });
  expect(await statusesOf(t, runId)).toEqual([
    'succeeded',
    'running',
    'running',
    'running',
    'pending',
    'pending',
  ]);
});

test('steps that end together are settled together, and are followed by as many as are ahead again', async () => {
  await using t = await setupRuns();
  const { runId, next, third, fourth } = await leasedAhead(t);
  const { results, news } = await t.settle(endOf(next, success, more), endOf(third, success, more));
  expect(results.map(({ result }) => result)).toEqual(['settled', 'settled']);
  const [one, two] = results;
  expect(one).not.toHaveProperty('ahead');
  expect(two?.next).toBeUndefined();
  expect(two?.ahead?.map(({ stepNumber }) => stepNumber)).toEqual([5, 6]);
  expect(two?.ahead?.[0]?.after).toEqual({ step: fourth.id, epoch: 1 });
  expect(await statusesOf(t, runId)).toEqual([
    ...['succeeded', 'succeeded', 'succeeded'],
    ...['running', 'running', 'running'],
  ]);
  expect(news.runs).toHaveLength(1);
  expect(await t.run(runId)).toMatchObject({ status: 'running', completedSteps: 3 });
});

test('an agent that takes nothing more goes on with what it has, and the step after it waits for a claim', async () => {
  await using t = await setupRuns();
  const { runId, next, third, fourth } = await leasedAhead(t);
  for (const step of [next, third, fourth]) {
    const { results } = await t.settle(endOf(step));
    expect(results).toEqual([{ stepId: step.id, epoch: 1, result: 'settled' }]);
  }
  expect((await statusesOf(t, runId))[4]).toBe('ready');
});

test('a step that fails closes what was leased to follow it, and ends its target run', async () => {
  await using t = await setupRuns();
  const { runId, next, third } = await leasedAhead(t);
  const { results } = await t.settle(endOf(next, failure, more));
  expect(results).toEqual([{ stepId: next.id, epoch: 1, result: 'settled' }]);
  expect(await t.steps(runId)).toMatchObject([
    { status: 'succeeded' },
    { status: 'failed' },
    { status: 'skipped', reason: 'predecessor', agentId: null, outputState: 'complete' },
    { status: 'skipped', reason: 'predecessor', agentId: null },
    { status: 'skipped', reason: 'predecessor' },
    { status: 'skipped' },
  ]);
  expect(await t.run(runId)).toMatchObject({ status: 'failed', completedSteps: 6, failedSteps: 1 });
  const [event] = await t.sql<{ change: RunChange }[]>`
    select change from run_events where job_run_id = ${runId} order by seq desc limit 1`;
  const told = event?.change.steps?.find(({ id }) => id === third.id);
  expect(told).toMatchObject({ status: 'skipped', reason: 'predecessor', agentName: null, attempts: 0 });
  const views = (await listSteps(t.sql, [next.targetRunId])).map((row) => stepView(row, []));
  expect(views.map(({ attempts }) => attempts)).toEqual([1, 1, 0, 0, 0, 0]);
  // What its agent says about it afterwards changes nothing.
  expect(await returnLeases(t.sql, [leaseOf(third)])).toMatchObject([{ runs: [] }]);
  expect((await t.settle(endOf(third))).results).toMatchObject([{ result: 'superseded' }]);
});

test('a step that succeeds and one that fails, reported together, end the target run', async () => {
  await using t = await setupRuns();
  const { runId, next, third } = await leasedAhead(t);
  const { results } = await t.settle(endOf(next, success, more), endOf(third, failure, more));
  expect(results.map((result) => Object.keys(result))).toEqual([
    ['stepId', 'epoch', 'result'],
    ['stepId', 'epoch', 'result'],
  ]);
  expect(await statusesOf(t, runId)).toEqual([
    ...['succeeded', 'succeeded', 'failed'],
    ...['skipped', 'skipped', 'skipped'],
  ]);
  expect(await t.run(runId)).toMatchObject({ status: 'failed', completedSteps: 6, failedSteps: 1 });
});

test('if an agent takes no more when the last of its steps ends, nothing is leased to it for those before', async () => {
  await using t = await setupRuns();
  const { runId, next, third, fourth } = await leasedAhead(t);
  const { results } = await t.settle(
    endOf(next, success, more),
    endOf(third, success, more),
    endOf(fourth, success),
  );
  expect(results.flatMap(({ next: leased, ahead = [] }) => [leased, ...ahead].filter(Boolean))).toEqual([]);
  expect((await statusesOf(t, runId)).slice(3)).toEqual(['succeeded', 'ready', 'pending']);
});

test('a step whose end is unknown to its agent closes what was to follow: the agent has not begun it', async () => {
  await using t = await setupRuns();
  const { runId, next } = await leasedAhead(t);
  await t.settle(endOf(next, { status: 'unknown', reason: 'agent_restarted' }));
  expect(await statusesOf(t, runId)).toEqual([
    ...['succeeded', 'unknown', 'skipped'],
    ...['skipped', 'skipped', 'skipped'],
  ]);
});

test('what was begun out of turn is unknown, not skipped', async () => {
  await using t = await setupRuns();
  const { runId, next, third } = await leasedAhead(t);
  const { agentId, sessionNumber } = t.agent;
  await markLeased(t.sql, [], [{ step: third.id, epoch: 1, agentId, sessionNumber }]);
  await t.settle(endOf(next, failure));
  expect((await t.steps(runId)).slice(1, 4)).toMatchObject([
    { status: 'failed' },
    { status: 'unknown', errorMessage: expect.stringContaining('before its turn') },
    { status: 'skipped' },
  ]);
  expect(await t.run(runId)).toMatchObject({ status: 'failed', completedSteps: 6, failedSteps: 1 });
});

test('an agent that is given up may have gone on: all that it was leased is unknown, once', async () => {
  await using t = await setupRuns();
  const { runId, next, third } = await leasedAhead(t);
  const { results } = await t.settle(givenUp(next), givenUp(third));
  expect(results.map(({ result }) => result)).toEqual(['settled', 'settled']);
  expect(await t.steps(runId)).toMatchObject([
    { status: 'succeeded' },
    { status: 'unknown', reason: 'agent_silent' },
    { status: 'unknown', reason: 'agent_silent' },
    { status: 'unknown', reason: 'agent_silent' },
    { status: 'skipped' },
    { status: 'skipped' },
  ]);
  expect(await t.run(runId)).toMatchObject({ status: 'unknown', completedSteps: 6, failedSteps: 0 });
  const attempts = await t.sql`
    select a.job_run_step_id as id from job_run_step_attempts a where a.job_run_id = ${runId} and a.status = 'unknown'`;
  expect(attempts).toHaveLength(3);
});

test('steps that became unknown together are told what happened, and their target run stays unknown', async () => {
  await using t = await setupRuns();
  const { runId, next } = await leasedAhead(t, { steps: 4, targets: 2 });
  await t.settle(givenUp(next));
  expect((await t.settle(endOf(next))).results).toMatchObject([{ result: 'superseded' }]);
  const steps = await t.steps(runId);
  expect(steps.slice(0, 4)).toMatchObject([
    { status: 'succeeded' },
    { status: 'unknown', advice: expect.stringContaining('has since reported: succeeded') },
    { status: 'unknown' },
    { status: 'unknown' },
  ]);
  const targetRuns = await t.sql`select status from job_run_targets where job_run_id = ${runId} order by id`;
  expect(targetRuns.map(({ status }) => status)).toEqual(['unknown', 'queued']);
});

test('a late result decides its step if only a clean-up step is unknown beside it', async () => {
  await using t = await setupRuns();
  await t.start({ steps: 3, targets: 2 });
  const first = (await t.claim()).find(({ stepNumber }) => stepNumber === 1);
  if (first === undefined) throw new Error('nothing was claimed');
  await t.settle(givenUp(first));
  const ofTarget = async () =>
    t.sql<{ id: number; status: string }[]>`
      select id, status from job_run_steps where target_run_id = ${first.targetRunId} order by step_number`;
  const [, , third] = await ofTarget();
  for (const status of ['pending', 'ready', 'running', 'unknown'])
    await t.sql`
      update job_run_steps set status = ${status}, is_clean_up = true, epoch = 1, lease_token = ${first.leaseToken},
        agent_id = ${first.agentId}, session_number = ${first.sessionNumber}, leased_at = now(),
        attempt_day = now()::date, deadline_at = now()
      where id = ${third?.id ?? 0}`;
  expect((await t.settle(endOf(first))).results).toMatchObject([{ result: 'settled' }]);
  expect(await ofTarget()).toMatchObject([
    { status: 'succeeded' },
    { status: 'ready' },
    { status: 'unknown' },
  ]);
});

test('the end of a step counts only after that of the step before it', async () => {
  await using t = await setupRuns();
  const { runId, next, third } = await leasedAhead(t);
  expect((await t.settle(endOf(third))).results).toMatchObject([{ result: 'early' }]);
  expect((await t.settle(givenUp(third))).results).toMatchObject([{ result: 'early' }]);
  expect((await statusesOf(t, runId)).slice(1, 4)).toEqual(['running', 'running', 'running']);
  await t.settle(endOf(next), endOf(third));
  expect((await statusesOf(t, runId)).slice(1, 4)).toEqual(['succeeded', 'succeeded', 'running']);
});

test('a target run takes one slot, however many of its steps are leased ahead', async () => {
  await using t = await setupRuns();
  await t.sql`update agent_sessions set slots = 2`;
  await leasedAhead(t);
  await t.start({ targets: 2 });
  const { steps } = await claimSteps(t.sql, testServerId);
  expect(steps).toHaveLength(1);
});

test('a step that fails closes what was leased to follow it, whatever others say about that at the same time', async () => {
  await using t = await setupRuns();
  const liar = await t.addAgent('liar');
  await t.sql`update agent_sessions set disconnected_at = clock_timestamp() where agent_id = ${liar.agentId}`;
  const { runId, next, third } = await leasedAhead(t, { steps: 4 });
  const lie = endOf({ ...third, ...liar, epoch: 9, leaseToken: 'made up'.repeat(5) });
  await t.settle(lie, endOf(next, failure));
  expect((await t.steps(runId)).map(({ status }) => status)).toEqual([
    ...['succeeded', 'failed', 'skipped', 'skipped'],
  ]);
});

test('a step is not run after the one before it has failed, whatever others say at the same time', async () => {
  await using t = await setupRuns();
  const liar = await t.addAgent('liar');
  await t.sql`update agent_sessions set disconnected_at = clock_timestamp() where agent_id = ${liar.agentId}`;
  const { runId, next, third, fourth } = await leasedAhead(t, { steps: 4 });
  const lie = endOf({ ...third, ...liar, epoch: 9, leaseToken: 'made up'.repeat(5) });
  await t.settle(lie, endOf(next, failure));
  // Its agent hands it back, as it does when the step before has failed.
  await returnLeases(t.sql, [third, fourth].map(leaseOf));
  expect(await t.claim()).toEqual([]);
  expect(await t.run(runId)).toMatchObject({ status: 'failed', completedSteps: 4 });
});
