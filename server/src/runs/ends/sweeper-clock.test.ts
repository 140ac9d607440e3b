// What a sweep does about time itself: pauses in which no server ran, and clocks that were set back.
import { expect, onTestFinished, test, vi } from 'vitest';
import { testSessionMs } from '../../segments/testing.ts';
import type { Sql } from '../../store/database/connection.ts';
import { blockedBackends, endOf, failure, givenUp, holdTransaction } from '../testing.ts';
import { pausedFor, refuseToWrite, setupSweeper, silentFor } from './sweeper-setup.ts';

test('a database whose clock was set back is swept all the same', async () => {
  await using t = await setupSweeper();
  const runId = await t.start();
  await t.claimOne();
  await silentFor(t, 301);
  await pausedFor(t, -3_600);
  await t.sweeper.sweep(0.8);
  expect(await t.steps(runId)).toMatchObject([{ status: 'unknown', reason: 'agent_silent' }]);
});

test('an agent last heard at a future time, because the clock was ahead, counts as silent from the correction', async () => {
  await using t = await setupSweeper();
  const runId = await t.start();
  await t.claimOne();
  const aYear = 366 * 86_400;
  await silentFor(t, -aYear);
  await t.sweep(-aYear);
  expect(
    await t.sql`select extract(epoch from expires_at - last_heartbeat_at)::int as lease_s from agent_sessions`,
  ).toEqual([{ leaseS: 20 }]);
  await t.sql`update agent_sessions set last_heartbeat_at = last_heartbeat_at - interval '240 s'`;
  await t.sweep();
  expect(await t.steps(runId)).toMatchObject([{ status: 'running' }]);
  await t.sql`update agent_sessions set last_heartbeat_at = last_heartbeat_at - interval '61 s'`;
  await t.sweep();
  expect(await t.steps(runId)).toMatchObject([{ status: 'unknown', reason: 'agent_silent' }]);
});

test('after the clock was set back, what began or was put off while it was ahead is not waited for as long', async () => {
  await using t = await setupSweeper();
  const retry = { attempts: 3, delay: 60 };
  await t.start({ targets: 2, rules: [{ retry }] });
  const [going, retried] = await t.claim();
  if (going === undefined || retried === undefined) throw new Error('two were to be claimed');
  await t.settle(endOf(retried, failure));
  await t.start({ rules: [{ on_unknown: 'hold', hold_for: 60 }] });
  const held = await t.claimOne();
  await t.settle(givenUp(held));
  // As if all of this had happened while the clock was three days ahead.
  await t.sql`
    update job_run_steps set leased_at = leased_at + interval '3 days', deadline_at = deadline_at + interval '3 days',
      held_until = held_until + interval '3 days', not_before = not_before + interval '3 days',
      waits_since = waits_since + interval '3 days'`;
  await t.sql`update job_run_step_attempts set settled_at = settled_at + interval '3 days'`;
  await t.sql`update attempt_clean_ups set due_at = due_at + interval '3 days'`;
  await t.sweep(-3 * 86_400);
  const [row] = await t.sql`
    select max(deadline_at) filter (where status = 'running') < clock_timestamp() + interval '5 min' as ends,
      max(held_until) < clock_timestamp() + interval '5 min' as decided,
      max(not_before) < clock_timestamp() + interval '5 min' as retried,
      max(waits_since) < clock_timestamp() + interval '5 min' as waited,
      min(not_before) > clock_timestamp() as waits_still,
      (select max(due_at) < clock_timestamp() + interval '5 min' from attempt_clean_ups) as cleaned_up
    from job_run_steps`;
  const all = { ends: true, decided: true, retried: true, waited: true, cleanedUp: true };
  expect(row).toEqual({ ...all, waitsStill: true });
});

/** Sweeps while another transaction holds the rows that `held` names, and returns which of `others` are free then. */
async function freeDuringSweep(
  t: Awaited<ReturnType<typeof setupSweeper>>,
  pausedS: number,
  { held, others }: Record<'held' | 'others', (sql: Sql) => PromiseLike<readonly unknown[]>>,
): Promise<readonly unknown[]> {
  const release = await holdTransaction(t.sql, async (tx) => held(tx as unknown as Sql));
  const sweeping = t.sweep(pausedS);
  await blockedBackends(t.sql, 1);
  const free = await others(t.sql);
  await release();
  await sweeping;
  return free;
}

test('after the clock was set back, a sweep locks steps in order and before sessions, as others do', async () => {
  await using t = await setupSweeper();
  await t.start({ rules: [{ retry: { attempts: 3, delay: 60 } }] });
  const first = await t.claimOne();
  await t.settle(endOf(first, failure));
  await t.start();
  const second = await t.claimOne();
  await silentFor(t, -3 * 86_400);
  await t.sql`
    update job_run_steps set leased_at = leased_at + interval '3 days', waits_since = waits_since + interval '3 days'`;
  const free = await freeDuringSweep(t, -3 * 86_400, {
    held: (sql) => sql`select from job_run_steps where id = ${first.id} for update`,
    others: async (sql) => [
      ...(await sql`select id from job_run_steps where id = ${second.id} for update skip locked`),
      ...(await sql`select agent_id from agent_sessions for update skip locked`),
    ],
  });
  expect(free).toEqual([{ id: second.id }, { agentId: t.agent.agentId }]);
});

test('after a pause, a sweep locks runs before steps, and steps before sessions, as others do', async () => {
  await using t = await setupSweeper();
  const runId = await t.start();
  const { id } = await t.claimOne();
  const free = await freeDuringSweep(t, 60, {
    held: (sql) => sql`select from job_runs where id = ${runId} for update`,
    others: async (sql) => [
      ...(await sql`select id from job_run_steps for update skip locked`),
      ...(await sql`select agent_id from agent_sessions for update skip locked`),
    ],
  });
  expect(free).toEqual([{ id }, { agentId: t.agent.agentId }]);
});

test.each([
  ['after a pause', 60],
  ['after the clock was set back', -3 * 86_400],
])('%s, a step whose row can’t be written keeps nothing else from being swept', async (_, pausedS) => {
  await using t = await setupSweeper();
  await t.start();
  const bad = await t.claimOne();
  const runId = await t.start({ timeoutS: 60 });
  const { id } = await t.claimOne();
  await silentFor(t, Math.min(pausedS, 0));
  await t.sql`update job_run_steps set leased_at = clock_timestamp() - make_interval(secs => ${pausedS})`;
  await refuseToWrite(t, bad.id);
  await t.sweep(pausedS);
  await t.sql`update job_run_steps set deadline_at = clock_timestamp() where id = ${id}`;
  await expect(t.sweeper.sweep()).resolves.toBeUndefined();
  expect(await t.steps(runId)).toMatchObject([{ status: 'unknown' }]);
});

test('the first sweep after a pause gives that time back and ends nothing', async () => {
  await using t = await setupSweeper();
  const runId = await t.start({ targets: 2, startWithinS: 60 });
  await t.connect(t.agent, { slots: 1 });
  await t.claimOne();
  await silentFor(t, 600);
  await t.sql`update job_run_steps set deadline_at = clock_timestamp() - interval '1 second'`;
  await t.sql`
    update job_runs set start_by = start_by - interval '600 seconds', created_at = created_at - interval '600 seconds'`;
  await t.sql`update job_run_steps set leased_at = clock_timestamp() - interval '600 seconds' where status = 'running'`;
  await t.sweep(599);
  await t.sweep();
  expect(await t.steps(runId)).toMatchObject([{ status: 'running' }, { status: 'ready' }]);
  expect(t.warnings).toEqual([{ gapS: expect.closeTo(600, -2), extended: 1 }]);
  const [left] = await t.sql`
    select extract(epoch from clock_timestamp() - s.last_heartbeat_at)::int as silent_s,
      extract(epoch from st.deadline_at - clock_timestamp())::int as deadline_s,
      extract(epoch from r.start_by - clock_timestamp())::int as start_s
    from job_runs r join job_run_steps st on st.job_run_id = r.id and st.status = 'running'
    join agent_sessions s on s.agent_id = st.agent_id`;
  expect(left?.silentS).toBeLessThan(60);
  expect(left?.deadlineS).toBeGreaterThan(540);
  expect(left?.startS).toBeGreaterThan(0);
});

test('a pause in which nothing ran is not logged', async () => {
  await using t = await setupSweeper();
  await t.start();
  await t.sweep(600);
  expect(t.warnings).toEqual([]);
});

test('held steps get the time of a pause back, and no more than it took from them', async () => {
  await using t = await setupSweeper();
  const runId = await t.start({ targets: 2, rules: [{ on_unknown: 'hold', hold_for: 60 }] });
  const [before, within] = await t.claim();
  if (before === undefined || within === undefined) throw new Error('not leased');
  await t.settle(givenUp(before), givenUp(within));
  // It had been held for 30 s of its 60 s when the pause of ten minutes began.
  await t.sql`
    update job_run_step_attempts set settled_at = settled_at - interval '630 s' where job_run_step_id = ${before.id}`;
  await t.sql`
    update job_run_steps set held_until = clock_timestamp() - interval '570 s' where id = ${before.id}`;
  await t.sweep(600);
  await t.sweep();
  expect(await t.steps(runId)).toMatchObject([{ status: 'held' }, { status: 'held' }]);
  const left = await t.sql<{ s: number }[]>`
    select extract(epoch from held_until - clock_timestamp())::float8 as s from job_run_steps order by id`;
  expect(left[0]?.s).toBeGreaterThan(0);
  expect(left[0]?.s).toBeLessThan(31);
  expect(left[1]?.s).toBeLessThanOrEqual(60);
  await t.sql`update job_run_steps set held_until = clock_timestamp() where id = ${before.id}`;
  await t.sweep();
  expect(await t.steps(runId)).toMatchObject([{ status: 'unknown' }, { status: 'held' }]);
});

test('a step that began after a pause, before the first sweep, gets no more than the time since then', async () => {
  await using t = await setupSweeper();
  const runId = await t.start({ targets: 2, startWithinS: 60 });
  await t.connect(t.agent, { slots: 1 });
  await t.claimOne();
  await t.sweep(36_000);
  const [left] = await t.sql`
    select extract(epoch from s.last_heartbeat_at - clock_timestamp())::int as ahead_s,
      extract(epoch from s.expires_at - clock_timestamp())::int as lease_s,
      extract(epoch from st.deadline_at - clock_timestamp())::int as deadline_s,
      extract(epoch from r.start_by - clock_timestamp())::int as start_s
    from job_runs r join job_run_steps st on st.job_run_id = r.id and st.status = 'running'
    join agent_sessions s on s.agent_id = st.agent_id where r.id = ${runId}`;
  expect(left?.aheadS).toBeLessThanOrEqual(0);
  expect(left?.leaseS).toBeLessThanOrEqual(testSessionMs / 1_000);
  expect(left?.deadlineS).toBeLessThanOrEqual(120);
  expect(left?.startS).toBeLessThanOrEqual(60);
});

test('waits that took too long are ended, whatever the server’s clock was set to', async () => {
  onTestFinished(() => void vi.useRealTimers());
  vi.useFakeTimers({ toFake: ['Date', 'performance'] });
  await using t = await setupSweeper();
  await t.sweep();
  const runId = await t.start({ targets: 2, startWithinS: 60 });
  await t.connect(t.agent, { slots: 1 });
  await t.settle(endOf(await t.claimOne()));
  await t.sql`update job_runs set created_at = created_at - interval '2 h', start_by = start_by - interval '2 h'`;
  await t.sql`
    update job_run_steps set leased_at = leased_at - interval '2 h', waits_since = waits_since - interval '2 h', completed_at = completed_at - interval '2 h'`;
  await t.sql`update job_run_step_attempts set settled_at = settled_at - interval '2 h'`;
  await t.sql`update job_run_targets set completed_at = completed_at - interval '2 h'`;
  vi.setSystemTime(Date.now() - 24 * 3_600_000);
  vi.advanceTimersByTime(5_000);
  await t.sweep();
  expect((await t.steps(runId)).map(({ status }) => status)).toEqual(['succeeded', 'timed_out']);
});
