// Steps that are leased to an agent ahead of their turn, and what becomes of them when their turn comes or can't come.
import type { RunChange } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { claimSteps } from '../../store/queue/claims.ts';
import { cancelRun } from '../ends/cancel-run.ts';
import { markLeased } from '../leases/mark-leased.ts';
import { resumeAgent } from '../leases/resume-agent.ts';
import { returnLeases } from '../leases/return-leases.ts';
import { endOf, failure, givenUp, setupRuns, success, type TestRuns, testServerId } from '../testing.ts';

const more = { wantsNext: true, ahead: 2 };

/** Ends the first of `steps` steps, at whose end its agent is leased the next one and two more ahead of their turn. */
async function leasedAhead(t: TestRuns, steps = 6) {
  const runId = await t.start({ steps });
  const first = await t.claimOne();
  const { results } = await t.settle(endOf(first, success, more));
  const [{ next, ahead: [third, fourth] = [] } = {}] = results;
  if (next === undefined || third === undefined || fourth === undefined)
    throw new Error('nothing was leased');
  return { runId, next, third, fourth };
}

const statuses = async (t: TestRuns, runId: number) => (await t.steps(runId)).map(({ status }) => status);

test('an agent that ends a step is leased the next one, and more ahead of their turn, each after the one before', async () => {
  await using t = await setupRuns();
  const { runId, next, third, fourth } = await leasedAhead(t);
  expect(next).not.toHaveProperty('after');
  expect(third.after).toEqual({ step: next.id, epoch: 1 });
  expect(fourth.after).toEqual({ step: third.id, epoch: 1 });
  expect(fourth).toMatchObject({ agentId: t.agent.agentId, sessionNumber: t.agent.sessionNumber, epoch: 1 });
  expect(await statuses(t, runId)).toEqual([
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
  expect(await statuses(t, runId)).toEqual([
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
  expect((await statuses(t, runId))[4]).toBe('ready');
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
  expect(told).toMatchObject({ status: 'skipped', reason: 'predecessor', agentName: null });
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
  expect(await statuses(t, runId)).toEqual([
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
  expect((await statuses(t, runId)).slice(3)).toEqual(['succeeded', 'ready', 'pending']);
});

test('a step whose end is unknown to its agent closes what was to follow: the agent has not begun it', async () => {
  await using t = await setupRuns();
  const { runId, next } = await leasedAhead(t);
  await t.settle(endOf(next, { status: 'unknown', reason: 'agent_restarted' }));
  expect(await statuses(t, runId)).toEqual([
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
  const runId = await t.start({ steps: 4, targets: 2 });
  const claimed = await t.claim();
  const first = claimed.find(({ targetRunId }) => targetRunId === claimed[0]?.targetRunId);
  if (first === undefined) throw new Error('nothing was claimed');
  const { results } = await t.settle(endOf(first, success, more));
  const [{ next } = {}] = results;
  if (next === undefined) throw new Error('nothing was leased');
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

test('what is handed back before its turn waits for the step before it, and then for a claim', async () => {
  await using t = await setupRuns();
  const { runId, next, third } = await leasedAhead(t);
  const [news] = await returnLeases(t.sql, [leaseOf(third)]);
  // What follows it goes back with it.
  expect(await statuses(t, runId)).toEqual([
    ...['succeeded', 'running', 'pending'],
    ...['pending', 'pending', 'pending'],
  ]);
  expect(news?.segments).toEqual([]);
  expect(await t.claim()).toEqual([]);
  await t.settle(endOf(next));
  expect(await t.claimOne()).toMatchObject({ id: third.id, epoch: 2 });
});

test('steps that an agent hands back with the one whose turn it is wait for that one', async () => {
  await using t = await setupRuns();
  const { runId, next, third, fourth } = await leasedAhead(t);
  await returnLeases(t.sql, [fourth, next, third].map(leaseOf));
  expect(await statuses(t, runId)).toEqual([
    ...['succeeded', 'ready', 'pending'],
    ...['pending', 'pending', 'pending'],
  ]);
  expect(await t.claim()).toMatchObject([{ id: next.id, epoch: 2 }]);
});

test('what a server of the version before takes back after a failure is skipped, and nobody runs it', async () => {
  await using t = await setupRuns();
  const { runId, next, third, fourth } = await leasedAhead(t);
  // Such a server ends the step and its target run, and closes only what is pending.
  await t.sql`update job_run_steps set status = 'failed' where id = ${next.id}`;
  await t.sql`update job_run_steps set status = 'skipped' where job_run_id = ${runId} and status = 'pending'`;
  await t.sql`update job_run_targets set status = 'failed' where job_run_id = ${runId}`;
  await t.sql`
    update job_run_steps set status = 'ready', agent_id = null, session_number = null, lease_token = null
    where id in (${third.id}, ${fourth.id})`;
  expect((await t.steps(runId)).slice(2, 4)).toMatchObject([
    { status: 'skipped', reason: 'predecessor' },
    { status: 'skipped', reason: 'predecessor' },
  ]);
});

test('what such a server takes back while the step before it runs waits for that', async () => {
  await using t = await setupRuns();
  const { runId, third, fourth } = await leasedAhead(t);
  await t.sql`update job_run_steps set status = 'ready' where id in (${third.id}, ${fourth.id})`;
  expect((await statuses(t, runId)).slice(1, 4)).toEqual(['running', 'pending', 'pending']);
});

test('an agent that comes back without what it was leased ahead goes on with the step that it has', async () => {
  await using t = await setupRuns();
  const { runId, next } = await leasedAhead(t);
  const again = await t.connect(t.agent, { ready: false });
  const { leaseToken } = next;
  const resumed = await resumeAgent(t.sql, {
    ...{ agentId: again.agentId, sessionNumber: again.sessionNumber, slots: 8, draining: false },
    ...{ version: '0.1.0', platform: 'linux-x64', hostname: null, journalIntact: true },
    attempts: [{ step: next.id, epoch: 1, leaseToken, state: 'running', lastSeq: 0 }],
  });
  expect(resumed?.verdicts).toMatchObject([{ step: next.id, verdict: 'continue' }]);
  expect((await statuses(t, runId)).slice(1, 4)).toEqual(['running', 'pending', 'pending']);
});

test('the end of a step counts only after that of the step before it', async () => {
  await using t = await setupRuns();
  const { runId, next, third } = await leasedAhead(t);
  expect((await t.settle(endOf(third))).results).toMatchObject([{ result: 'early' }]);
  expect((await t.settle(givenUp(third))).results).toMatchObject([{ result: 'early' }]);
  expect((await statuses(t, runId)).slice(1, 4)).toEqual(['running', 'running', 'running']);
  await t.settle(endOf(next), endOf(third));
  expect((await statuses(t, runId)).slice(1, 4)).toEqual(['succeeded', 'succeeded', 'running']);
});

test('in a cancelled run, a step that its agent had gone on with is waited for', async () => {
  await using t = await setupRuns();
  const { runId, next, third } = await leasedAhead(t);
  await cancelRun(t.sql, runId, t.caller, { force: false });
  await t.settle(endOf(next, success, more));
  expect(await t.run(runId)).toMatchObject({ status: 'cancelling' });
  await t.settle(endOf(third, { status: 'cancelled', reason: 'cancelled' }));
  expect(await statuses(t, runId)).toEqual([
    ...['succeeded', 'succeeded', 'cancelled'],
    ...['cancelled', 'cancelled', 'cancelled'],
  ]);
  expect(await t.run(runId)).toMatchObject({ status: 'cancelled', completedSteps: 6 });
});

test('in a cancelled run, what is handed back before its turn ends with the step before it', async () => {
  await using t = await setupRuns();
  const { runId, next, third } = await leasedAhead(t);
  await cancelRun(t.sql, runId, t.caller, { force: false });
  await returnLeases(t.sql, [leaseOf(third)]);
  expect(await t.run(runId)).toMatchObject({ status: 'cancelling' });
  await t.settle(endOf(next, { status: 'cancelled', reason: 'cancelled' }));
  expect(await t.run(runId)).toMatchObject({ status: 'cancelled', completedSteps: 6 });
});

test('a forced cancel makes all that was leased unknown, each told whether it had begun', async () => {
  await using t = await setupRuns();
  const { runId, next } = await leasedAhead(t);
  const { agentId, sessionNumber } = t.agent;
  await markLeased(t.sql, [], [{ step: next.id, epoch: 1, agentId, sessionNumber }]);
  await cancelRun(t.sql, runId, t.caller, { force: true });
  expect(await t.steps(runId)).toMatchObject([
    { status: 'succeeded' },
    { status: 'unknown', errorMessage: expect.stringContaining('while the step ran') },
    { status: 'unknown', errorMessage: expect.stringContaining('had been given to its agent') },
    { status: 'unknown' },
    { status: 'cancelled' },
    { status: 'cancelled' },
  ]);
});

test('a target run takes one slot, however many of its steps are leased ahead', async () => {
  await using t = await setupRuns();
  await t.sql`update agent_sessions set slots = 2`;
  await leasedAhead(t);
  await t.start({ targets: 2 });
  const { steps } = await claimSteps(t.sql, testServerId);
  expect(steps).toHaveLength(1);
});

function leaseOf({ id, epoch, leaseToken, agentId }: Awaited<ReturnType<TestRuns['claimOne']>>) {
  return { stepId: id, epoch, leaseToken, agentId };
}
