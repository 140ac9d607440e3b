import { expect, test } from 'vitest';
import { cancelRun } from '../ends/cancel-run.ts';
import { markLeased } from '../leases/mark-leased.ts';
import { blockedBackends, endOf, failure, givenUp, holdTransaction, setupRuns, success } from '../testing.ts';
import type { AttemptEnd } from './attempt-end.ts';

test('a completion ends the step, its target run and its run in one event with correct counters', async () => {
  await using t = await setupRuns();
  const runId = await t.start();
  const lease = await t.claimOne();
  await markLeased(t.sql, [lease]);
  const { results, news } = await t.settle(endOf(lease));
  expect(results).toEqual([{ stepId: lease.id, epoch: 1, result: 'settled' }]);
  expect(news.runs).toEqual([{ id: runId, seq: 2, ended: true }]);
  expect(await t.run(runId)).toMatchObject({ status: 'succeeded', completedSteps: 1, failedSteps: 0 });
  expect(await t.steps(runId)).toMatchObject([{ status: 'succeeded', epoch: 1, outputState: 'complete' }]);
  const events = await t.sql`select seq, change from run_events where job_run_id = ${runId} order by seq`;
  expect(events.map((event) => event.seq)).toEqual([1, 2]);
  expect(events[1]?.change).toMatchObject({
    run: { status: 'succeeded', targetsSucceeded: 1, targetsRunning: 0, completedSteps: 1 },
    steps: [{ id: lease.id, status: 'succeeded', exitCode: 0 }],
  });
});

test('a step that its condition skipped is counted as skipped, and the next one goes on', async () => {
  await using t = await setupRuns();
  const runId = await t.start({ steps: 2 });
  const { news } = await t.settle(
    endOf(await t.claimOne(), { status: 'skipped', reason: 'condition_false' }),
  );
  expect(news.ended?.steps).toEqual(new Map([['skipped', 1]]));
  await t.settle(endOf(await t.claimOne()));
  expect(await t.run(runId)).toMatchObject({ status: 'succeeded', completedSteps: 2, failedSteps: 0 });
});

test('the resources that a command used are kept with its step and its attempt', async () => {
  await using t = await setupRuns();
  const runId = await t.start();
  const lease = await t.claimOne();
  await t.settle(endOf(lease, { ...success, cpuMs: 1_200, peakMemoryBytes: 40_960 }));
  const rows = await t.sql`
    select st.cpu_ms, st.peak_memory_bytes, a.cpu_ms as of_attempt, a.peak_memory_bytes as memory_of_attempt
    from job_run_steps st join job_run_step_attempts a on a.job_run_step_id = st.id where st.job_run_id = ${runId}`;
  expect(rows).toEqual([
    { cpuMs: 1_200, peakMemoryBytes: 40_960, ofAttempt: 1_200, memoryOfAttempt: 40_960 },
  ]);
});

test('detections are kept with the attempt, and with the step until it is retried', async () => {
  await using t = await setupRuns();
  const runId = await t.start();
  const lease = await t.claimOne();
  const detections = [{ kind: 'github_token' as const, place: 'stdout' as const, count: 2 }];
  await t.settle(endOf(lease, { ...success, detections }));
  expect(
    await t.sql`
    select st.detections, a.detections as of_attempt from job_run_steps st
    join job_run_step_attempts a on a.job_run_step_id = st.id where st.job_run_id = ${runId}`,
  ).toEqual([{ detections, ofAttempt: detections }]);
});

const stale: [string, (end: AttemptEnd) => AttemptEnd, 'superseded' | 'forget'][] = [
  ['another epoch', (end) => ({ ...end, epoch: end.epoch + 1 }), 'forget'],
  ['another token', (end) => ({ ...end, leaseToken: 'a-token-of-somebody-else' }), 'superseded'],
  ['another session', (end) => from(end, { sessionNumber: 7 }), 'superseded'],
  ['another agent', (end) => from(end, { agentId: 999 }), 'superseded'],
];

function from(end: AttemptEnd, other: { agentId?: number; sessionNumber?: number }): AttemptEnd {
  if (end.source.kind !== 'agent') throw new Error('not of an agent');
  return { ...end, source: { ...end.source, ...other } };
}

test.each(stale)('a completion with %s changes nothing', async (_, change, result) => {
  await using t = await setupRuns();
  const runId = await t.start();
  const lease = await t.claimOne();
  const before = [await t.steps(runId), await t.run(runId)];
  const { results, news } = await t.settle(change(endOf(lease)));
  expect(results).toMatchObject([{ result }]);
  expect(news).toEqual({ runs: [], segments: [], cancel: [] });
  expect([await t.steps(runId), await t.run(runId)]).toEqual(before);
});

test('neither another connected agent nor a session that was not resumed settles a lease', async () => {
  await using t = await setupRuns();
  const runId = await t.start();
  const lease = await t.claimOne();
  const other = await t.addAgent('agent-b');
  const newer = await t.connect(t.agent, { ready: false });
  for (const { agentId, sessionNumber } of [{ ...other, sessionNumber: lease.sessionNumber }, newer]) {
    const { results } = await t.settle(from(endOf(lease), { agentId, sessionNumber }));
    expect(results).toMatchObject([{ result: 'superseded' }]);
  }
  expect(await t.steps(runId)).toMatchObject([{ status: 'running' }]);
});

test('after an agent has authenticated again, its old session settles nothing, whether resumed or not', async () => {
  await using t = await setupRuns();
  const runId = await t.start({ steps: 2 });
  const lease = await t.claimOne();
  await t.connect(t.agent, { ready: false });
  const { results } = await t.settle(endOf(lease, success, { wantsNext: true }));
  expect(results).toMatchObject([{ result: 'superseded' }]);
  expect(await t.steps(runId)).toMatchObject([{ status: 'running' }, { status: 'pending' }]);
});

test('a completion in progress holds back a newer session, which then finds the step leased with it', async () => {
  await using t = await setupRuns();
  const runId = await t.start({ steps: 2 });
  const lease = await t.claimOne();
  const release = await holdTransaction(
    t.sql,
    (tx) => tx`select 1 from job_runs where id = ${runId} for update`,
  );
  const settling = t.settle(endOf(lease, success, { wantsNext: true }));
  await blockedBackends(t.sql, 1);
  const reconnecting = t.connect(t.agent, { ready: false });
  await blockedBackends(t.sql, 2);
  await release();
  const { results } = await settling;
  await reconnecting;
  // If the newer session had come first, the completion would be superseded.
  expect(results).toMatchObject([{ result: 'settled', next: { stepNumber: 2, epoch: 1 } }]);
  const { sessionNumber } = lease;
  expect(await t.steps(runId)).toMatchObject([{ status: 'succeeded' }, { status: 'running', sessionNumber }]);
});

test('a completion that is sent again is answered as before, without another lease', async () => {
  await using t = await setupRuns();
  const runId = await t.start({ steps: 2 });
  const end = endOf(await t.claimOne(), success, { wantsNext: true });
  const first = await t.settle(end);
  const before = [await t.steps(runId), await t.run(runId)];
  const again = await t.settle(end);
  expect(first.results).toMatchObject([{ result: 'settled', next: { stepNumber: 2 } }]);
  expect(again.results).toEqual([{ stepId: end.stepId, epoch: 1, result: 'settled', isRepeated: true }]);
  expect([await t.steps(runId), await t.run(runId)]).toEqual(before);
});

test('two completions of one attempt in one batch settle it once', async () => {
  await using t = await setupRuns();
  const runId = await t.start();
  const lease = await t.claimOne();
  const { results } = await t.settle(endOf(lease), endOf(lease, failure));
  expect(results).toMatchObject([{ result: 'settled' }, { result: 'superseded' }]);
  expect(await t.run(runId)).toMatchObject({ status: 'succeeded', completedSteps: 1, failedSteps: 0 });
});

test('the next step is leased to the agent that completed, in the same transaction', async () => {
  await using t = await setupRuns();
  const runId = await t.start({ steps: 2 });
  const first = await t.claimOne();
  const { results } = await t.settle(endOf(first, success, { wantsNext: true }));
  const next = results[0]?.next;
  expect(next).toMatchObject({ stepNumber: 2, epoch: 1, agentId: t.agent.agentId, jobRunId: runId });
  expect(next?.leaseToken).not.toBe(first.leaseToken);
  expect(await t.claim()).toEqual([]);
  if (next === undefined) throw new Error('no next step');
  await t.settle(endOf(next));
  expect(await t.run(runId)).toMatchObject({ status: 'succeeded', completedSteps: 2 });
});

test('an agent that wants no next step leaves it ready for others', async () => {
  await using t = await setupRuns();
  const runId = await t.start({ steps: 2 });
  const { results, news } = await t.settle(endOf(await t.claimOne(), success, { wantsNext: false }));
  expect(results[0]?.next).toBeUndefined();
  expect(news.segments).toEqual([t.segmentId]);
  expect(await t.steps(runId)).toMatchObject([{ status: 'succeeded' }, { status: 'ready', epoch: 0 }]);
});

test('steps after a failed one are skipped, with the predecessor as the reason', async () => {
  await using t = await setupRuns();
  const runId = await t.start({ steps: 3 });
  const { results } = await t.settle(endOf(await t.claimOne(), failure, { wantsNext: true }));
  expect(results[0]?.next).toBeUndefined();
  expect(await t.steps(runId)).toMatchObject([
    { status: 'failed', reason: 'exit_code' },
    { status: 'skipped', reason: 'predecessor', epoch: 0 },
    { status: 'skipped', reason: 'predecessor', epoch: 0 },
  ]);
  expect(await t.run(runId)).toMatchObject({
    status: 'failed',
    completedSteps: 3,
    failedSteps: 1,
    errorMessage: 'host-1, step 1: exit code 3',
  });
});

test('what a late result says of itself is a sentence of its own', async () => {
  await using t = await setupRuns();
  const runId = await t.start();
  const lease = await t.claimOne();
  await t.settle(givenUp(lease));
  await t.settle(endOf(lease, { status: 'cancelled', message: 'The command was stopped.' }));
  const [step] = await t.steps(runId);
  expect(step?.advice).toBe('The agent has since reported: cancelled. The command was stopped.');
});

test('a late result in an ended run annotates it in a separate event, and changes no outcome', async () => {
  await using t = await setupRuns();
  const runId = await t.start({ steps: 2 });
  const lease = await t.claimOne();
  await t.settle(givenUp(lease));
  const ended = await t.run(runId);
  expect(ended).toMatchObject({ status: 'unknown', outputState: 'gapped' });
  const late = endOf(lease, success, { wantsNext: true });
  const { results } = await t.settle(late);
  expect(results).toMatchObject([{ result: 'superseded' }]);
  expect(results[0]?.next).toBeUndefined();
  // Nothing is missing from its output any more.
  expect(await t.run(runId)).toEqual({ ...ended, eventSeq: ended.eventSeq + 1, outputState: 'complete' });
  const [event] = await t.sql`
    select change from run_events where job_run_id = ${runId} and seq = ${ended.eventSeq + 1}`;
  expect(event?.change).toMatchObject({
    run: { status: 'unknown', lateResults: 1 },
    steps: [{ id: lease.id, advice: 'The agent has since reported: succeeded, exit code 0' }],
  });
  const [step, successor] = await t.steps(runId);
  expect(step).toMatchObject({ status: 'unknown', reason: 'agent_silent', outputState: 'complete' });
  expect(step?.advice).toMatch(/agent has since reported: succeeded/);
  expect(successor).toMatchObject({ status: 'skipped' });
  const [attempt] =
    await t.sql`select status, late_status from job_run_step_attempts where job_run_step_id = ${lease.id}`;
  expect(attempt).toEqual({ status: 'unknown', lateStatus: 'succeeded' });
});

test('in a run that is being cancelled, a step that succeeds is followed by none', async () => {
  await using t = await setupRuns();
  const runId = await t.start({ steps: 2 });
  const lease = await t.claimOne();
  await cancelRun(t.sql, runId, t.caller);
  expect(await t.steps(runId)).toMatchObject([{ status: 'running' }, { status: 'pending' }]);
  const { results } = await t.settle(endOf(lease, success, { wantsNext: true }));
  expect(results[0]).toMatchObject({ result: 'settled' });
  expect(results[0]?.next).toBeUndefined();
  expect(await t.steps(runId)).toMatchObject([{ status: 'succeeded' }, { status: 'cancelled' }]);
  expect(await t.run(runId)).toMatchObject({ status: 'cancelled', completedSteps: 2 });
});

test('simultaneous completions of one run from two connections never leave it running', async () => {
  await using t = await setupRuns();
  for (let round = 0; round < 10; round += 1) {
    const runId = await t.start({ targets: 4 });
    const leases = await t.claim();
    expect(leases).toHaveLength(4);
    await Promise.all(leases.map((lease) => t.settle(endOf(lease))));
    expect(await t.run(runId)).toMatchObject({ status: 'succeeded', completedSteps: 4 });
  }
});

test('a simultaneous cancel and completions neither deadlock nor leave anything open', async () => {
  await using t = await setupRuns();
  const deadlocks = async () =>
    (await t.sql`select deadlocks from pg_stat_database where datname = current_database()`)[0]?.deadlocks;
  for (let round = 0; round < 10; round += 1) {
    const runId = await t.start({ targets: 4, steps: 2 });
    const leases = await t.claim();
    await Promise.all([
      ...leases.map((lease) => t.settle(endOf(lease, success, { wantsNext: false }))),
      cancelRun(t.sql, runId, t.caller),
    ]);
    const run = await t.run(runId);
    expect(run).toMatchObject({ status: 'cancelled', completedSteps: 8 });
    expect((await t.steps(runId)).map((step) => step.status)).not.toContain('ready');
  }
  expect(await deadlocks()).toBe(0);
});

test('an end reports a start that was not recorded before, but never from before the lease', async () => {
  await using t = await setupRuns();
  const runId = await t.start({ targets: 2 });
  const [early, late] = await t.claim();
  if (early === undefined || late === undefined) throw new Error('two steps were to be leased');
  await t.sql`update job_run_steps set leased_at = leased_at - interval '1 second' where job_run_id = ${runId}`;
  await t.settle({ ...endOf(early), startedMsAgo: 3_600_000 }, { ...endOf(late), startedMsAgo: 0 });
  const rows = await t.sql`
    select a.started_at = st.started_at as same, st.started_at = date_trunc('milliseconds', st.leased_at) as at_lease,
      st.started_at = st.completed_at as at_end
    from job_run_steps st join job_run_step_attempts a on a.job_run_step_id = st.id
    where st.job_run_id = ${runId} order by st.id`;
  expect(rows).toEqual([
    { same: true, atLease: true, atEnd: false },
    { same: true, atLease: false, atEnd: true },
  ]);
  const [event] = await t.sql`select change from run_events where job_run_id = ${runId}`;
  const told = { agentName: t.agent.name, leasedAt: expect.any(String), startedAt: expect.any(String) };
  expect(event?.change.steps).toMatchObject([told, told]);
});

test.each(['recorded before', 'not recorded before'])(
  'a run and its hosts have taken the time since their first lease, which was %s',
  async (recorded) => {
    await using t = await setupRuns();
    const runId = await t.start({ targets: 2 });
    const [early, late] = await t.claim();
    if (early === undefined || late === undefined) throw new Error('two steps were to be leased');
    await t.sql`update job_run_steps set leased_at = leased_at - interval '5 seconds' where id = ${early.id}`;
    await t.sql`update job_run_steps set leased_at = leased_at - interval '2 seconds' where id = ${late.id}`;
    if (recorded === 'recorded before') {
      await markLeased(t.sql, [late]);
      await markLeased(t.sql, [early]);
    }
    await t.settle(endOf(late), endOf(early));
    const [run] = await t.sql`
      select r.execution_time_ms, r.started_at = min(date_trunc('milliseconds', st.leased_at)) as at_lease
      from job_runs r join job_run_steps st on st.job_run_id = r.id where r.id = ${runId} group by r.id`;
    expect(run?.atLease).toBe(true);
    expect(run?.executionTimeMs).toBeGreaterThanOrEqual(5000);
    const hosts = await t.sql`
      select tr.started_at = date_trunc('milliseconds', st.leased_at) as at_lease
      from job_run_targets tr join job_run_steps st on st.target_run_id = tr.id where tr.job_run_id = ${runId}`;
    expect(hosts).toEqual([{ atLease: true }, { atLease: true }]);
  },
);

test('a step that a policy file refuses is in the audit log, with the agent and its words', async () => {
  await using t = await setupRuns();
  const runId = await t.start();
  const lease = await t.claimOne();
  const message = 'The policy of this agent does not allow user root: rule users.';
  await t.settle(endOf(lease, { status: 'failed', reason: 'policy_refused', message }));
  const rows = await t.sql`
    select actor_kind, object_id, segment_id, detail from audit_log where action = 'agent.step_refused'`;
  expect(rows).toEqual([
    {
      actorKind: 'agent',
      objectId: String(runId),
      segmentId: expect.any(Number),
      detail: expect.objectContaining({ reason: 'policy_refused', message, stepId: lease.id }),
    },
  ]);
});
