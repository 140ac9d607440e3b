import { expect, test } from 'vitest';
import { markStarted } from '../../store/agents/agent-sessions.ts';
import { claimOnce } from '../../store/queue/claims/claims.ts';
import { attemptsToStop } from '../../store/queue/sweep/sweep.ts';
import { LeaseBuilder } from '../leases/lease-builder.ts';
import {
  blockedBackends,
  endOf,
  failure,
  givenUp,
  holdTransaction,
  setupRuns,
  success,
  testServerId,
} from '../testing.ts';
import { cancelRun } from './cancel-run.ts';
import { CleanUpRequests } from './clean-up-requests.ts';
import { timeOutRun } from './time-out-run.ts';

test('a forced cancel at once ends running steps unknown and waiting steps cancelled, and says who forced it', async () => {
  await using t = await setupRuns();
  const runId = await t.start({ targets: 3, rules: [{}, { when_status: 'always' }] });
  await t.connect(t.agent, { slots: 2 });
  const [begun, given] = await t.claim();
  if (begun === undefined || given === undefined) throw new Error('not leased');
  await markStarted(t.sql, [{ step: begun.id, ...begun }]);
  await cancelRun(t.sql, runId, t.caller);
  expect(await t.run(runId)).toMatchObject({ status: 'cancelling' });
  await cancelRun(t.sql, runId, t.caller, { force: true });
  const steps = await t.steps(runId);
  expect(steps.map((step) => step.status)).toEqual([
    'unknown',
    'cancelled',
    'unknown',
    'cancelled',
    'cancelled',
    'cancelled',
  ]);
  expect(steps[0]).toMatchObject({ reason: 'cancel_forced' });
  expect(steps[0]?.errorMessage).toMatch(
    new RegExp(`^${t.caller.name} forced the cancel while the step ran`),
  );
  expect(steps[2]?.errorMessage).toMatch(/when the step had been given to its agent/);
  expect(await t.run(runId)).toMatchObject({ status: 'unknown', completedSteps: 6 });
  await cancelRun(t.sql, runId, t.caller, { force: true });
  // The attempt that goes on is still told to stop, and what it reports is recorded.
  expect(await attemptsToStop(t.sql, [runId])).toHaveLength(2);
  const { results } = await t.settle(endOf(begun, { status: 'cancelled', reason: 'cancelled' }));
  expect(results).toMatchObject([{ result: 'superseded' }]);
  expect(await attemptsToStop(t.sql, [runId])).toMatchObject([{ stepId: given.id }]);
  expect(await t.run(runId)).toMatchObject({ status: 'unknown' });
  const actions = await t.sql`select action from audit_log where action like 'run.cancel%' order by id`;
  expect(actions.map((row) => row.action)).toEqual(['run.cancel_requested', 'run.cancel_forced']);
});

test('attempts that were given up in an ended run are stopped on request, and the run keeps its outcome', async () => {
  await using t = await setupRuns();
  const requests = new CleanUpRequests({ sql: t.sql, builder: new LeaseBuilder(t) });
  const agent = { ...t.agent, segmentId: t.segmentId };
  const runId = await t.start({ targets: 2 });
  const [lost, other] = await t.claim();
  if (lost === undefined || other === undefined) throw new Error('not leased');
  await t.settle(givenUp(lost), endOf(other, success));
  const ended = await t.run(runId);
  expect(ended).toMatchObject({ status: 'unknown' });
  expect(await attemptsToStop(t.sql, [runId])).toEqual([]);
  expect(await requests.requestFor(agent)).toBeUndefined();
  expect(await cancelRun(t.sql, runId, t.caller)).toMatchObject({ cancel: [runId] });
  expect(await t.run(runId)).toMatchObject({ ...ended, eventSeq: (ended?.eventSeq ?? 0) + 1 });
  expect(await attemptsToStop(t.sql, [runId])).toMatchObject([{ stepId: lost.id, epoch: 1 }]);
  expect((await requests.requestFor(agent))?.attempts).toMatchObject([{ step: lost.id }]);
  // A repeated cancel, forced or not, changes nothing, and once its agent has reported, there is nothing left to stop.
  await cancelRun(t.sql, runId, t.caller, { force: true });
  await t.settle(endOf(lost, { status: 'cancelled', reason: 'cancelled' }));
  await expect(cancelRun(t.sql, runId, t.caller)).rejects.toMatchObject({ code: 'conflict' });
  const actions = await t.sql`select action from audit_log where action like 'run.cancel%' order by id`;
  expect(actions.map((row) => row.action)).toEqual(['run.cancel_requested']);
});

test('a forced cancel also ends clean-up steps, even if they would be retried', async () => {
  await using t = await setupRuns();
  const again = { when_status: 'always', on_unknown: 'retry', idempotent: true } as const;
  const runId = await t.start({ rules: [{}, again, { when_status: 'always' }] });
  await t.settle(endOf(await t.claimOne(), failure));
  const cleaning = await t.claimOne();
  await cancelRun(t.sql, runId, t.caller);
  expect(await t.run(runId)).toMatchObject({ status: 'cancelling' });
  await cancelRun(t.sql, runId, t.caller, { force: true });
  expect(await t.steps(runId)).toMatchObject([
    { status: 'failed' },
    { id: cleaning.id, status: 'unknown', reason: 'cancel_forced' },
    { status: 'cancelled' },
  ]);
  expect(await t.run(runId)).toMatchObject({ status: 'failed' });
});

test('a forced cancel that finds nothing running ends the run cancelled', async () => {
  await using t = await setupRuns();
  const runId = await t.start({ targets: 2 });
  await cancelRun(t.sql, runId, t.caller, { force: true });
  expect(await t.run(runId)).toMatchObject({ status: 'cancelled' });
});

test('a step that is being leased while its run is cancelled is stopped by its agent, and its run waits for that', async () => {
  await using t = await setupRuns();
  const runId = await t.start({ targets: 2, steps: 2 });
  await t.connect(t.agent, { slots: 1 });
  const commit = await holdTransaction(t.sql, (tx) => claimOnce(tx, testServerId));
  const cancelled = cancelRun(t.sql, runId, t.caller);
  await blockedBackends(t.sql, 1);
  await commit();
  await cancelled;
  expect(await t.run(runId)).toMatchObject({ status: 'cancelling' });
  expect((await t.steps(runId)).map(({ status }) => status)).toEqual([
    ...['running', 'pending'],
    ...['cancelled', 'cancelled'],
  ]);
  expect(await attemptsToStop(t.sql, [runId])).toHaveLength(1);
});

test('a cancel ends a held step as unknown, so nobody is asked any more', async () => {
  await using t = await setupRuns();
  const runId = await t.start({ rules: [{ on_unknown: 'hold' }, {}] });
  await t.settle(givenUp(await t.claimOne()));
  await cancelRun(t.sql, runId, t.caller);
  const [step, successor] = await t.steps(runId);
  expect(step).toMatchObject({ status: 'unknown', reason: 'agent_silent' });
  expect(step?.errorMessage).toMatch(/stopped while the step waited for a decision/);
  expect(successor).toMatchObject({ status: 'cancelled' });
  expect(await t.run(runId)).toMatchObject({ status: 'unknown', completedSteps: 2 });
});

test('a clean-up step after a cancel is not stopped by that cancel, and is leased again when it comes back', async () => {
  await using t = await setupRuns();
  const runId = await t.start({ rules: [{}, { when_status: 'failure' }] });
  const lease = await t.claimOne();
  await cancelRun(t.sql, runId, t.caller);
  expect(await attemptsToStop(t.sql, [runId])).toEqual([
    { stepId: lease.id, epoch: 1, agentId: t.agent.agentId },
  ]);
  await t.settle(endOf(lease, { status: 'cancelled', reason: 'cancelled' }));
  await t.claimOne();
  expect(await attemptsToStop(t.sql, [runId])).toEqual([]);
});

test('an agent is asked to clean up after a cut attempt once its time is over or its run is cancelled', async () => {
  await using t = await setupRuns();
  const requests = new CleanUpRequests({ sql: t.sql, builder: new LeaseBuilder(t) });
  const agent = { ...t.agent, segmentId: t.segmentId };
  const runId = await t.start({ targets: 2 });
  const [lost, other] = await t.claim();
  if (lost === undefined || other === undefined) throw new Error('not leased');
  await t.settle(givenUp(lost));
  // It may still be doing its work.
  expect(await requests.requestFor(agent)).toBeUndefined();
  await cancelRun(t.sql, runId, t.caller);
  const request = await requests.requestFor(agent);
  expect(request?.attempts).toMatchObject([
    {
      step: lost.id,
      epoch: 1,
      target: { name: 'host-1', host: '10.0.0.1' },
      credential: { sealed: expect.anything() },
    },
  ]);
  // Asked for only once at a time.
  expect(await requests.requestFor(agent)).toBeUndefined();
  const survivors = [{ pid: 7, command: 'sleep 9' }];
  const said = { type: 'cleaned_up', requestId: request?.requestId ?? '' } as const;
  await requests.answered(agent.agentId + 1, {
    ...said,
    results: [{ step: lost.id, epoch: 1, found: 'nothing' }],
  });
  await requests.answered(agent.agentId, {
    ...said,
    results: [
      { step: lost.id, epoch: 1, found: 'survivors', survivors },
      { step: other.id, epoch: 1, found: 'ended' },
    ],
  });
  const rows =
    await t.sql`select job_run_step_id as id, found, survivors, done_at is not null as done from attempt_clean_ups`;
  expect(rows).toEqual([{ id: lost.id, found: 'survivors', survivors, done: true }]);
});

test('output that an agent may still bring stays on the target; a revoked agent’s output is not waited for', async () => {
  await using t = await setupRuns();
  const requests = new CleanUpRequests({ sql: t.sql, builder: new LeaseBuilder(t) });
  const agent = { ...t.agent, segmentId: t.segmentId };
  await t.start();
  await t.settle(givenUp(await t.claimOne()));
  const asked = async () => {
    await t.sql`update attempt_clean_ups set due_at = clock_timestamp(), asked_at = null`;
    return (await requests.requestFor(agent))?.attempts[0];
  };
  expect(await asked()).toMatchObject({ uncollected: true });
  await t.sql`update agents set state = 'revoked'`;
  expect(await asked()).not.toHaveProperty('uncollected');
});

test('an attempt whose agent reports after all needs no clean-up; an unreachable target is tried again', async () => {
  await using t = await setupRuns();
  const requests = new CleanUpRequests({ sql: t.sql, builder: new LeaseBuilder(t) });
  const agent = { ...t.agent, segmentId: t.segmentId };
  await t.start({ targets: 2 });
  const [lost, back] = await t.claim();
  if (lost === undefined || back === undefined) throw new Error('not leased');
  await t.settle(givenUp(lost), givenUp(back));
  await t.settle(endOf(back, failure));
  await t.sql`update attempt_clean_ups set due_at = clock_timestamp()`;
  const request = await requests.requestFor(agent);
  expect(request?.attempts.map(({ step }) => step)).toEqual([lost.id]);
  const results = [{ step: lost.id, epoch: 1, found: 'unreachable' as const }];
  await requests.answered(agent.agentId, { type: 'cleaned_up', requestId: 'r', results });
  const longAgo = t.sql`clock_timestamp() - interval '61 seconds'`;
  await t.sql`update attempt_clean_ups set asked_at = ${longAgo}, told_at = ${longAgo}`;
  expect((await requests.requestFor(agent))?.attempts).toHaveLength(1);
});

test('an attempt that had begun and is retried is cleaned up after at once', async () => {
  await using t = await setupRuns();
  await t.start({ rules: [{ on_unknown: 'retry', idempotent: true }] });
  await t.settle(givenUp(await t.claimOne()));
  const [row] = await t.sql`select due_at <= clock_timestamp() as due from attempt_clean_ups`;
  expect(row).toEqual({ due: true });
  await t.settle(endOf(await t.claimOne(), success));
});

test('a run past its timeout asks nobody about held steps, stops running steps, and lets clean-up steps run', async () => {
  await using t = await setupRuns();
  const runId = await t.start({
    targets: 3,
    rules: [{ on_unknown: 'hold' }, {}, { when_status: 'always' }],
    job: { timeout: 60 },
  });
  await t.connect(t.agent, { slots: 2 });
  const [held, running] = await t.claim();
  if (held === undefined || running === undefined) throw new Error('not leased');
  await t.settle(givenUp(held));
  const { cancel } = await timeOutRun(t.sql, runId);
  expect(cancel).toEqual([runId]);
  const statuses = async () => (await t.steps(runId)).map((step) => step.status);
  // Nothing runs beside what may still be going on, and where nothing has begun, there is nothing to clean up.
  const [first, third] = [
    ['unknown', 'timed_out', 'timed_out'],
    ['timed_out', 'timed_out', 'timed_out'],
  ];
  expect(await statuses()).toEqual([...first, 'running', 'pending', 'pending', ...third]);
  await t.settle(endOf(running, { status: 'cancelled', reason: 'cancelled' }));
  const cleaning = await t.claimOne();
  expect(cleaning).toMatchObject({ targetRunId: running.targetRunId, stepNumber: 3 });
  // It is stopped only once: clean-up steps after the timeout have their own time.
  expect((await timeOutRun(t.sql, runId)).runs).toEqual([]);
  expect(await attemptsToStop(t.sql, [runId])).toEqual([
    { stepId: held.id, epoch: 1, agentId: held.agentId },
  ]);
  await t.settle(endOf(cleaning));
  expect(await statuses()).toEqual([...first, 'timed_out', 'timed_out', 'succeeded', ...third]);
  // Each that was ended by the timeout says so, whatever had become of the steps before it.
  const ended = (await t.steps(runId)).filter((step) => step.status === 'timed_out');
  expect(ended.map((step) => step.reason)).toEqual(Array(7).fill('run_timeout'));
  expect(await t.run(runId)).toMatchObject({ status: 'failed', completedSteps: 9 });
});

test.each([
  ['plain', [{}, {}]],
  ['with steps that run whatever happened', [{}, { when_status: 'success' }, { when_status: 'always' }]],
] as const)(
  'a late success of a step of a run that was ended by its timeout does not make up for steps that never ran (%s)',
  async (_, rules) => {
    await using t = await setupRuns();
    const runId = await t.start({ targets: 2, rules, job: { timeout: 60 } });
    const [lost, other] = await t.claim();
    if (lost === undefined || other === undefined) throw new Error('not leased');
    await timeOutRun(t.sql, runId);
    await t.settle(givenUp(lost));
    const mine = async () => {
      const steps = (await t.steps(runId)).slice(0, rules.length);
      return steps.map(({ status, reason }) => [status, reason]);
    };
    const never = rules.slice(1).map(() => ['timed_out', 'run_timeout']);
    expect(await mine()).toEqual([['unknown', 'agent_silent'], ...never]);
    await t.settle(endOf(lost, success));
    expect(await mine()).toEqual([['succeeded', null], ...never]);
    const [target] = await t.sql`select status from job_run_targets where id = ${lost.targetRunId}`;
    expect(target).toEqual({ status: 'timed_out' });
    await t.settle(endOf(other, { status: 'cancelled', reason: 'cancelled' }));
    const cleaning = await t.claim();
    await t.settle(...cleaning.map((step) => endOf(step)));
    expect(await t.run(runId)).toMatchObject({ status: 'timed_out', completedSteps: 2 * rules.length });
  },
);
