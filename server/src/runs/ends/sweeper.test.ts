import { expect, test } from 'vitest';
import { changeUnknownAfter } from '../../segments/change-unknown-after.ts';
import type { Sql } from '../../store/database/connection.ts';
import { runsNotStarted, touchClusterClock } from '../../store/queue/sweep/sweep.ts';
import { markLeased } from '../leases/mark-leased.ts';
import { returnLeases } from '../leases/return-leases.ts';
import { endOf, failure, givenUp, growRun, holdTransaction, success } from '../testing.ts';
import { cancelRun } from './cancel-run.ts';
import { cancelTargetRun } from './cancel-target-run.ts';
import { endUnstarted } from './end-waits.ts';
import { pausedFor, refuseToWrite, setupSweeper, silentFor } from './sweeper-setup.ts';

test('steps of a silent agent become unknown after the segment’s time, not before', async () => {
  await using t = await setupSweeper();
  const runId = await t.start({ steps: 2 });
  await t.claimOne();
  await silentFor(t, 240);
  await t.sweep();
  expect(await t.run(runId)).toMatchObject({ status: 'queued' });
  await silentFor(t, 301);
  await t.sweep();
  expect(await t.steps(runId)).toMatchObject([
    { status: 'unknown', reason: 'agent_silent', outputState: 'gapped' },
    { status: 'skipped' },
  ]);
  expect(await t.run(runId)).toMatchObject({ status: 'unknown' });
  expect(t.published.flatMap((news) => news.runs)).toMatchObject([{ id: runId, ended: true }]);
});

test('a changed time of the segment takes effect at once, even for an agent that is already silent', async () => {
  await using t = await setupSweeper();
  const runId = await t.start();
  await t.claimOne();
  await silentFor(t, 301);
  await changeUnknownAfter(t.sql, t.segmentId, 900, t.caller);
  await t.sweep();
  expect(await t.run(runId)).toMatchObject({ status: 'queued' });
  await changeUnknownAfter(t.sql, t.segmentId, 60, t.caller);
  await t.sweep();
  expect(await t.steps(runId)).toMatchObject([{ status: 'unknown', reason: 'agent_silent' }]);
});

test('an attempt that goes on beyond its timeout and grace becomes unknown although its agent is alive', async () => {
  await using t = await setupSweeper();
  const runId = await t.start({ timeoutS: 60 });
  const lease = await t.claimOne();
  const [row] = await t.sql`
    select extract(epoch from deadline_at - leased_at)::int as seconds from job_run_steps where id = ${lease.id}`;
  // Timeout, kill grace, lease TTL and half a minute.
  expect(row?.seconds).toBe(60 + 10 + 20 + 30);
  await t.sql`update job_run_steps set deadline_at = clock_timestamp()`;
  await t.sweep();
  const [step] = await t.steps(runId);
  expect(step).toMatchObject({ status: 'unknown', reason: 'agent_silent' });
  expect(step?.errorMessage).toMatch(/did not report an end/);
});

test('a cancel that a silent agent doesn’t confirm ends unknown after its grace; a live agent’s goes on', async () => {
  await using t = await setupSweeper();
  const runId = await t.start();
  const lease = await t.claimOne();
  await cancelRun(t.sql, runId, t.caller);
  await t.sql`update job_runs set cancel_requested_at = clock_timestamp() - interval '31 seconds'`;
  await t.sweep();
  expect(await t.run(runId)).toMatchObject({ status: 'cancelling' });
  // An agent that missed the message is told again.
  expect(t.published.map((news) => news.cancel)).toContainEqual([runId]);
  await silentFor(t, 21);
  await t.sweep();
  expect(await t.steps(runId)).toMatchObject([
    { id: lease.id, status: 'unknown', reason: 'cancel_unconfirmed' },
  ]);
  expect(await t.run(runId)).toMatchObject({ status: 'unknown' });
});

test('a run of which nothing was leased in time ends timed out, and names the segment', async () => {
  await using t = await setupSweeper();
  const runId = await t.start({ targets: 2, steps: 2 });
  await t.sql`update job_runs set start_by = clock_timestamp()`;
  await t.sweep();
  expect(await t.run(runId)).toMatchObject({
    status: 'timed_out',
    completedSteps: 4,
    errorMessage: 'Not started in time: no agent with a free slot in “dmz-1”.',
  });
  expect((await t.steps(runId)).map((step) => step.status)).toEqual(Array(4).fill('timed_out'));
});

test('a run that has begun on one target is not ended by start_within', async () => {
  await using t = await setupSweeper();
  const runId = await t.start({ targets: 2 });
  await t.connect(t.agent, { slots: 1 });
  await t.settle(endOf(await t.claimOne(), success));
  await t.sql`update job_runs set created_at = clock_timestamp() - interval '1 hour', start_by = clock_timestamp()`;
  await t.sweep();
  expect(await t.run(runId)).toMatchObject({ status: 'running' });
});

test('a run whose only step waits for a retry counts as started, however late that is', async () => {
  await using t = await setupSweeper();
  const retry = { attempts: 2, delay: 600, on: ['exit_code' as const] };
  const runId = await t.start({ rules: [{ retry }, { when_status: 'always' }] });
  await t.settle(endOf(await t.claimOne(), failure));
  await t.sql`update job_runs set start_by = clock_timestamp()`;
  await t.sweep();
  await endUnstarted(t.sql, runId);
  expect(await t.steps(runId)).toMatchObject([{ status: 'ready', epoch: 1 }, { status: 'pending' }]);
  expect(await t.run(runId)).toMatchObject({ status: 'running' });
});

test('a run whose only lease came back unbegun still has to start in time', async () => {
  await using t = await setupSweeper();
  const runId = await t.start();
  const lease = await t.claimOne();
  await markLeased(t.sql, [lease]);
  expect(await t.run(runId)).toMatchObject({ status: 'running' });
  await returnLeases(t.sql, [{ stepId: lease.id, ...lease }]);
  await t.sql`update job_runs set start_by = clock_timestamp()`;
  await t.sweep();
  expect(await t.run(runId)).toMatchObject({ status: 'timed_out' });
  expect(await t.claim()).toEqual([]);
});

test('hosts whose lease came back unbegun end with those that never had one, once the run has not started in time', async () => {
  await using t = await setupSweeper();
  const runId = await t.start({ targets: 2, steps: 2 });
  await t.connect(t.agent, { slots: 1 });
  const lease = await t.claimOne();
  await markLeased(t.sql, [lease]);
  await returnLeases(t.sql, [{ stepId: lease.id, ...lease }]);
  expect(await t.sql`select status from job_run_targets order by id`).toMatchObject([
    { status: 'running' },
    { status: 'queued' },
  ]);
  await endUnstarted(t.sql, runId);
  expect(await t.run(runId)).toMatchObject({ status: 'timed_out', completedSteps: 4 });
  expect((await t.steps(runId)).map(({ reason }) => reason)).toEqual(Array(4).fill('start_within_expired'));
});

test('a step that is leased just before its run is ended for lateness keeps the run going', async () => {
  await using t = await setupSweeper();
  const runId = await t.start({ targets: 2, steps: 2 });
  await t.connect(t.agent, { slots: 1 });
  const lease = await t.claimOne();
  expect((await endUnstarted(t.sql, runId)).runs).toEqual([]);
  const { results } = await t.settle(endOf(lease, success, { wantsNext: true }));
  expect(results).toMatchObject([{ result: 'settled', next: { stepNumber: 2 } }]);
});

test('a step that can’t be given up doesn’t keep anything else from being swept', async () => {
  await using t = await setupSweeper();
  const [stuck, lost, late] = [await t.start(), await t.start(), await t.start({ startWithinS: 60 })];
  await t.connect(t.agent, { slots: 2 });
  const [first] = await t.claim();
  await refuseToWrite(t, first?.id);
  await t.sql`update job_runs set start_by = clock_timestamp() where id = ${late}`;
  await silentFor(t, 301);
  await expect(t.sweep()).rejects.toThrow('this row can not be written');
  expect(await t.run(stuck)).toMatchObject({ status: 'queued' });
  expect(await t.run(lost)).toMatchObject({ status: 'unknown' });
  expect(await t.run(late)).toMatchObject({ status: 'timed_out' });
});

test('a held step that can’t be ended doesn’t keep the others from ending at their deadlines', async () => {
  await using t = await setupSweeper();
  const runId = await t.start({ targets: 2, rules: [{ on_unknown: 'hold', hold_for: 60 }] });
  const [stuck, other] = await t.claim();
  if (stuck === undefined || other === undefined) throw new Error('not leased');
  await t.settle(givenUp(stuck), givenUp(other));
  await t.sql`update job_run_steps set held_until = clock_timestamp()`;
  await refuseToWrite(t, stuck.id);
  await expect(t.sweep()).rejects.toThrow('this row can not be written');
  expect(await t.steps(runId)).toMatchObject([{ status: 'held' }, { status: 'unknown' }]);
  expect(t.warnings).toMatchObject([{ steps: [other.id] }]);
});

test('while one server sweeps, another one leaves it alone', async () => {
  await using t = await setupSweeper();
  const runId = await t.start();
  await t.claimOne();
  await silentFor(t, 301);
  const otherIsDone = await holdTransaction(t.sql, touchClusterClock);
  await t.sweeper.sweep();
  expect(await t.run(runId)).toMatchObject({ status: 'queued' });
  await otherIsDone();
  await t.sweep();
  expect(t.published.flatMap((news) => news.runs.filter((run) => run.ended))).toMatchObject([{ id: runId }]);
});

test('after one server has swept, another only reminds its own agents what to stop', async () => {
  await using t = await setupSweeper();
  const runId = await t.start();
  await t.claimOne();
  const cancelledId = await t.start();
  await t.claimOne();
  await cancelRun(t.sql, cancelledId, t.caller);
  const partlyId = await t.start({ targets: 2 });
  const [{ targetRunId = 0 } = {}] = await t.claim();
  await cancelTargetRun(t.sql, { runId: partlyId, targetRunId }, t.caller);
  await t.sweep();
  await t.sql`update job_run_steps set deadline_at = clock_timestamp() where job_run_id = ${runId}`;
  t.published.splice(0);
  await t.sweeper.sweep(60);
  expect(await t.run(runId)).toMatchObject({ status: 'queued' });
  expect(t.published).toEqual([
    { runs: [], segments: [], cancel: [cancelledId], cancelTargetRuns: [targetRunId] },
  ]);
  await pausedFor(t, 2);
  await t.sweeper.sweep(1);
  expect(await t.run(runId)).toMatchObject({ status: 'unknown' });
});

test('a run past its timeout is stopped by the sweep: waiting steps end timed out, running ones are told to stop', async () => {
  await using t = await setupSweeper();
  await t.connect(t.agent, { slots: 1 });
  const runId = await t.start({ targets: 2, job: { timeout: 60 } });
  const leases = await t.claim();
  await markLeased(t.sql, leases);
  await t.sweep();
  expect(await t.run(runId)).toMatchObject({ status: 'running' });
  await t.sql`update job_runs set started_at = clock_timestamp() - interval '61 s' where id = ${runId}`;
  await t.sweep();
  expect(await t.run(runId)).toMatchObject({ status: 'cancelling' });
  expect((await t.steps(runId)).map(({ status }) => status)).toEqual(['running', 'timed_out']);
  expect(t.published.flatMap((news) => news.cancel)).toContain(runId);
});

test('a lock whose release went unnoticed is found by the sweep, which tells the segment of the waiting step', async () => {
  await using t = await setupSweeper();
  const locks = [{ name: 'database', mode: 'exclusive' as const }];
  await t.start({ job: { locks } });
  const lease = await t.claimOne();
  const waiting = await t.start({ job: { locks } });
  expect(await t.claim()).toEqual([]);
  await t.sql`delete from lock_slots where target_run_id = ${lease.targetRunId}`;
  await t.sweep();
  expect(t.published.flatMap((news) => news.segments)).toContain(t.segmentId);
  expect((await t.claimOne()).jobRunId).toBe(waiting);
});

test('a lock that the database refuses to free keeps no others from being freed', async () => {
  await using t = await setupSweeper();
  const lockOf = (name: string) => ({ job: { locks: [{ name, mode: 'exclusive' as const }] } });
  for (const name of ['bad', 'good']) await t.start(lockOf(name));
  const leases = await t.claim();
  const waiting = await t.start(lockOf('good'));
  expect(await t.claim()).toEqual([]);
  await t.sql`update lock_slots set taken_at = clock_timestamp() - interval '1 min'`;
  await t.sql`
    update job_run_steps set status = 'ready', agent_id = null, session_number = null, lease_token = null,
      not_before = clock_timestamp() + interval '1 h' where id = any(${leases.map(({ id }) => id)}::bigint[])`;
  await t.sql.unsafe(`
    create function refuse() returns trigger language plpgsql as $$
      begin raise exception 'this row can not be written'; end $$;
    create trigger refuse before delete on lock_slots for each row when (old.lock_key = 'bad')
      execute function refuse()`);
  await t.sweep();
  expect((await t.claimOne()).jobRunId).toBe(waiting);
});

test('an agent that sits on what it was leased ahead keeps nothing else from being given up', async () => {
  await using t = await setupSweeper();
  await t.connect(t.agent, { slots: 512 });
  await t.start({ steps: 9, targets: 64 });
  const firsts = await t.claim();
  await t.settle(...firsts.map((first) => endOf(first, success, { wantsNext: true, ahead: 7 })));
  // The first of each may run for long, the others no longer.
  const [{ count } = { count: 0 }] = await t.sql<{ count: number }[]>`
    with late as (update job_run_steps set deadline_at = clock_timestamp() - interval '1 s'
      where status = 'running' and step_number > 2 returning 1) select count(*)::int from late`;
  expect(count).toBe(7 * 64);
  await t.start({ steps: 9, targets: 10 });
  await t.settle(...(await t.claim()).map((first) => endOf(first, success, { wantsNext: true, ahead: 7 })));
  await t.sql`update job_run_steps set deadline_at = clock_timestamp() - interval '1 s'
    where status = 'running' and step_number > 2`;
  const victim = await t.start();
  await t.claimOne();
  await t.sql`update job_run_steps set deadline_at = clock_timestamp() - interval '1 s' where job_run_id = ${victim}`;
  await t.sweep();
  expect(await t.run(victim)).toMatchObject({ status: 'unknown' });
});

test('of a large run of which a host has ended, no steps are read to see whether it has begun', async () => {
  await using t = await setupSweeper();
  const runId = await t.start();
  await growRun(t.sql, runId, 500);
  // The steps before the one that has ended all wait.
  await t.sql`
    update job_run_steps set not_before = clock_timestamp() + interval '1 h'
    where id < (select max(id) from job_run_steps)`;
  await t.settle(endOf(await t.claimOne()));
  await t.sql`update job_runs set start_by = clock_timestamp()`;
  const read = await t.sql.begin(async (tx) => {
    const rows = async () => {
      const [row] = await tx<{ n: number }[]>`
        select (seq_tup_read + idx_tup_fetch)::int as n from pg_stat_xact_user_tables where relname = 'job_run_steps'`;
      return row?.n ?? 0;
    };
    const before = await rows();
    expect(await runsNotStarted(tx as unknown as Sql)).toEqual([]);
    return (await rows()) - before;
  });
  expect(read).toBe(0);
});
