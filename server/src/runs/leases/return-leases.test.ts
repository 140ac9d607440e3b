import type { RunChange } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { markStarted } from '../../store/agents/agent-sessions.ts';
import { listSteps } from '../../store/runs/runs.ts';
import { endOf, failure, setupRuns } from '../testing.ts';
import { listAttempts } from '../view/list-attempts.ts';
import { stepView } from '../view/run-view.ts';
import { markLeased } from './mark-leased.ts';
import { returnLeases } from './return-leases.ts';

test('a lease that was not begun goes back to ready and wakes its segment', async () => {
  await using t = await setupRuns();
  const runId = await t.start();
  const lease = await t.claimOne();
  const news = await returnLeases(t.sql, [unbegun(lease)]);
  expect(news.flatMap((each) => each.segments)).toEqual([lease.segmentId]);
  expect(await t.steps(runId)).toMatchObject([{ status: 'ready', epoch: 1 }]);
  expect((await t.claimOne()).epoch).toBe(2);
});

test('a lease that came back unbegun is none of the attempts that people are told of', async () => {
  await using t = await setupRuns();
  const runId = await t.start({ rules: [{ retry: { attempts: 3, delay: 0 } }] });
  const first = await t.claimOne();
  const told = async () => {
    const [row] = await listSteps(t.sql, [first.targetRunId]);
    if (row === undefined) throw new Error('no step');
    const { status, attempt, attempts } = stepView(row, []);
    const listed = await listAttempts(t.sql, { runId, stepId: first.id }, t.caller.authority);
    return { status, attempt, attempts, listed: listed.map(({ attempt, number }) => [attempt, number]) };
  };
  await returnLeases(t.sql, [unbegun(first)]);
  expect(await told()).toEqual({ status: 'ready', attempt: 1, attempts: 0, listed: [] });
  await t.settle(endOf(await t.claimOne(), failure));
  expect(await told()).toEqual({ status: 'ready', attempt: 2, attempts: 1, listed: [[2, 1]] });
  await returnLeases(t.sql, [unbegun(await t.claimOne())]);
  const last = await t.claimOne();
  await markLeased(t.sql, [last]);
  expect(await told()).toEqual({
    ...{ status: 'running', attempt: 4, attempts: 2 },
    listed: [
      [2, 1],
      [4, 2],
    ],
  });
  const events = await t.sql<{ change: RunChange }[]>`
    select change from run_events where job_run_id = ${runId} order by seq`;
  const counts = events.flatMap(({ change }) => change.steps ?? []).map(({ attempts }) => attempts);
  expect(counts).toEqual([0, 1, 1, 2]);
  await t.settle(endOf(last));
  expect(await told()).toMatchObject({ status: 'succeeded', attempts: 2 });
});

test('a lease that was begun never becomes ready again: what it did is unknown', async () => {
  await using t = await setupRuns();
  const runId = await t.start({ steps: 2 });
  const lease = await t.claimOne();
  const { agentId, sessionNumber } = lease;
  await markStarted(t.sql, [{ step: lease.id, epoch: lease.epoch, agentId, sessionNumber }]);
  await returnLeases(t.sql, [unbegun(lease)]);
  expect(await t.steps(runId)).toMatchObject([
    { status: 'unknown', reason: 'agent_restarted' },
    { status: 'skipped' },
  ]);
  expect(await t.run(runId)).toMatchObject({ status: 'unknown' });
});

test('a lease that has output never becomes ready again, although nobody has said that it began', async () => {
  await using t = await setupRuns();
  const runId = await t.start();
  const lease = await t.claimOne();
  await t.sql`update job_run_steps set output_seq = 1 where id = ${lease.id}`;
  await returnLeases(t.sql, [unbegun(lease)]);
  expect(await t.steps(runId)).toMatchObject([{ status: 'unknown', reason: 'agent_restarted' }]);
  expect(await t.claim()).toEqual([]);
});

test.each([false, true])(
  'a lease from before its run was halted that comes back unbegun doesn’t begin any more (told: %s)',
  async (isTold) => {
    await using t = await setupRuns();
    const runId = await t.start({
      targets: 3,
      steps: 2,
      job: { strategy: { max_parallel: 2, max_failures: 0 } },
    });
    const [first, second] = await t.claim();
    if (first === undefined || second === undefined) throw new Error('not leased');
    if (isTold) await markLeased(t.sql, [first, second]);
    await t.settle(endOf(first, failure));
    await returnLeases(t.sql, [unbegun(second)]);
    expect(await t.claim()).toEqual([]);
    // The message has no numbers, because people may read it who see no other host.
    const errorMessage = 'Not begun: more hosts failed or became unknown than the run allows.';
    expect((await t.steps(runId)).slice(2)).toMatchObject([
      { status: 'cancelled', reason: 'halted', errorMessage },
      { status: 'cancelled', reason: 'halted', errorMessage },
      { status: 'cancelled' },
      { status: 'cancelled' },
    ]);
    expect(await t.run(runId)).toMatchObject({ status: 'failed', completedSteps: 6 });
  },
);

test('a lease that has moved on is left alone', async () => {
  await using t = await setupRuns();
  const runId = await t.start();
  const lease = await t.claimOne();
  await returnLeases(t.sql, [{ ...unbegun(lease), leaseToken: 'of-somebody-else' }]);
  await returnLeases(t.sql, [{ ...unbegun(lease), epoch: lease.epoch + 1 }]);
  expect(await t.steps(runId)).toMatchObject([{ status: 'running', epoch: 1 }]);
});

function unbegun(lease: { id: number; epoch: number; leaseToken: string; agentId: number }) {
  return { stepId: lease.id, epoch: lease.epoch, leaseToken: lease.leaseToken, agentId: lease.agentId };
}
