import { afterEach, beforeEach, expect, test } from 'vitest';
import { Authority } from '../../auth/authority.ts';
import { longWaits, runsThatWait } from '../../store/queue/waiting/wait-bounds.ts';
import { markLeased } from '../leases/mark-leased.ts';
import { returnLeases } from '../leases/return-leases.ts';
import { endOf, failure, givenUp, setupRuns, success, type TestRuns } from '../testing.ts';
import { explainRun } from '../view/explain-run.ts';
import { cancelRun } from './cancel-run.ts';
import { decideHeld } from './decide-held.ts';
import { endLongWaits, endUnstarted } from './end-waits.ts';

let t: TestRuns;
beforeEach(async () => {
  t = await setupRuns();
});
afterEach(() => t[Symbol.asyncDispose]());

/** Moves everything that has happened to runs this much into the past. */
async function hoursPass(hours: number): Promise<void> {
  const ago = t.sql`make_interval(hours => ${hours})`;
  await t.sql`update job_runs set created_at = created_at - ${ago}, start_by = start_by - ${ago}`;
  await t.sql`
    update job_run_steps set waits_since = waits_since - ${ago}, leased_at = leased_at - ${ago},
      completed_at = completed_at - ${ago}`;
  await t.sql`update job_run_targets set started_at = started_at - ${ago}, completed_at = completed_at - ${ago}`;
  await t.sql`update job_run_step_attempts set settled_at = settled_at - ${ago}`;
}

/** Ends waits as the sweep does. */
async function endWaits(): Promise<void> {
  for (const id of await runsThatWait(t.sql)) {
    if ((await longWaits(t.sql, id)).length > 0) await endLongWaits(t.sql, id);
  }
}

const statusesOf = async (runId: number) => (await t.steps(runId)).map(({ status }) => status);
const locks = [{ name: 'database', mode: 'exclusive' as const }];
const reader = new Authority([{ role: 'viewer', permission: null, scope: null }]);
const waitsOf = async (runId: number) => (await explainRun(t.sql, runId, reader)).waits;

test('a cancelled run whose clean-up step no agent takes ends cancelled after start_within, and its locks are freed', async () => {
  const rules = [{}, { when_status: 'always' as const }, { when_status: 'always' as const }];
  const runId = await t.start({ rules, startWithinS: 7_200, job: { locks } });
  const lease = await t.claimOne();
  await hoursPass(30);
  await cancelRun(t.sql, runId, t.caller);
  await t.settle(endOf(lease, { status: 'cancelled', reason: 'cancelled' }));
  await t.sql`update agent_sessions set disconnected_at = clock_timestamp()`;
  await hoursPass(1);
  await endWaits();
  expect(await t.run(runId)).toMatchObject({ status: 'cancelling' });
  const [wait] = await waitsOf(runId);
  // Two hours from its turn, one of which has passed.
  const leftS = (Date.parse(wait?.until ?? '') - Date.now()) / 1_000;
  expect(leftS).toBeGreaterThan(3_500);
  expect(leftS).toBeLessThanOrEqual(3_600);
  await hoursPass(1);
  await endWaits();
  expect(await t.steps(runId)).toMatchObject([
    { status: 'cancelled' },
    {
      status: 'timed_out',
      reason: 'start_within_expired',
      errorMessage: expect.stringMatching(/^No agent in segment “.*” took the step in time/),
      advice: 'Look on the target: it was not cleaned up.',
    },
    { status: 'cancelled' },
  ]);
  expect(await t.run(runId)).toMatchObject({ status: 'cancelled', completedSteps: 3, failedSteps: 1 });
  expect(await t.sql`select from lock_slots`).toEqual([]);
});

test('a later step that no agent takes ends timed out, and its clean-up steps get their own time to wait', async () => {
  const runId = await t.start({ rules: [{}, {}, { when_status: 'always' }] });
  await t.settle(endOf(await t.claimOne(), success));
  await t.sql`update agent_sessions set disconnected_at = clock_timestamp()`;
  await hoursPass(1);
  await endWaits();
  expect(await statusesOf(runId)).toEqual(['succeeded', 'timed_out', 'ready']);
  await endWaits();
  expect(await statusesOf(runId)).toEqual(['succeeded', 'timed_out', 'ready']);
  await hoursPass(1);
  await endWaits();
  expect(await statusesOf(runId)).toEqual(['succeeded', 'timed_out', 'timed_out']);
  expect(await t.run(runId)).toMatchObject({ status: 'timed_out', completedSteps: 3, failedSteps: 2 });
  expect((await t.run(runId)).errorMessage).toMatch(/^host-1, step 2: No agent in segment/);
});

test('steps that wait while others of the run go on in the segment have no deadline, and explain shows none', async () => {
  await t.connect(t.agent, { slots: 1 });
  const runId = await t.start({ targets: 3 });
  const lease = await t.claimOne();
  await markLeased(t.sql, [lease]);
  await hoursPass(5);
  await endWaits();
  expect(await statusesOf(runId)).toEqual(['running', 'ready', 'ready']);
  expect((await waitsOf(runId)).find(({ code }) => code === 'no_free_slot')).toMatchObject({ until: null });
  await t.settle(endOf(lease));
  await endWaits();
  expect(await statusesOf(runId)).toEqual(['succeeded', 'ready', 'ready']);
  await t.sql`update agents set drain_requested_at = now()`;
  expect((await waitsOf(runId))[0]?.until).not.toBeNull();
  await hoursPass(1);
  await endWaits();
  // Hosts where nothing began say why.
  const message = expect.stringMatching(/^No agent in segment/);
  expect(await t.sql`select status, end_reason from job_run_targets order by id`).toEqual([
    { status: 'succeeded', endReason: null },
    { status: 'timed_out', endReason: message },
    { status: 'timed_out', endReason: message },
  ]);
  expect((await t.run(runId)).errorMessage).toMatch(/^Not begun on 2 hosts: No agent/);
});

test('hosts that a strategy opens after nobody was found in time end at once, until an agent is back', async () => {
  await t.connect(t.agent, { slots: 1 });
  const strategy = { max_parallel: 1, max_failures: 2, on_exceeded: 'continue' as const };
  const runId = await t.start({ targets: 4, job: { strategy } });
  await t.settle(endOf(await t.claimOne()));
  await hoursPass(1);
  await endWaits();
  expect(await statusesOf(runId)).toEqual(['succeeded', 'timed_out', 'ready', 'pending']);
  await endWaits();
  expect(await statusesOf(runId)).toEqual(['succeeded', 'timed_out', 'timed_out', 'ready']);
  await t.settle(endOf(await t.claimOne()));
  expect(await t.run(runId)).toMatchObject({ status: 'partial' });
});

test('a lock that is not released in time is named, before the run began and afterwards', async () => {
  const runId = await t.start({ targets: 2, job: { locks } });
  const first = await t.claimOne();
  const unbegun = await t.start({ job: { locks } });
  const urgent = await t.start({ job: { locks, priority: 5 } });
  expect(await t.claim()).toEqual([]);
  await t.settle(endOf(first));
  // One slot, and all that wait for the lock could have it: the most urgent gets it.
  await t.connect(t.agent, { slots: 1 });
  await t.sql`update job_run_steps set not_before = null where status = 'ready'`;
  expect((await t.claimOne()).jobRunId).toBe(urgent);
  await t.connect(t.agent, { slots: 2 });
  await t.claim();
  expect((await waitsOf(runId))[0]).toMatchObject({
    code: 'lock',
    runs: [urgent],
    until: expect.any(String),
  });
  await hoursPass(1);
  await endUnstarted(t.sql, unbegun);
  await endWaits();
  expect((await t.run(unbegun)).errorMessage).toBe('Not started in time: lock “database” was not free.');
  const [never] =
    await t.sql`select started_at, completed_at, execution_time_ms from job_runs where id = ${unbegun}`;
  expect(never).toEqual({ startedAt: null, completedAt: expect.any(Date), executionTimeMs: null });
  const message = 'Lock “database” was not free in time (start_within).';
  const expired = { status: 'timed_out', reason: 'start_within_expired', errorMessage: message };
  expect(await t.steps(unbegun)).toMatchObject([expired]);
  expect((await t.steps(runId))[1]).toMatchObject({ status: 'timed_out', errorMessage: message });
  expect(await t.run(runId)).toMatchObject({ errorMessage: `Not begun on one host: ${message}` });
});

test('leases that came back unbegun, decisions and retry delays count correctly towards a wait', async () => {
  const rules = [
    {
      on_unknown: 'hold' as const,
      retry: { attempts: 3, delay: 3_600, max_delay: 3_600, on: ['exit_code' as const] },
    },
  ];
  const runId = await t.start({ rules });
  const lease = await t.claimOne();
  await t.settle(givenUp(lease));
  await hoursPass(9);
  await endWaits();
  const [held] = await t.steps(runId);
  await decideHeld(
    t.sql,
    runId,
    { stepIds: [held?.id ?? 0], decision: 'retry', note: 'again' } as never,
    t.caller,
  );
  await endWaits();
  expect(await statusesOf(runId)).toEqual(['ready']);
  const again = await t.claimOne();
  await returnLeases(t.sql, [{ stepId: again.id, ...again }]);
  await endWaits();
  expect(await statusesOf(runId)).toEqual(['ready']);
  await t.settle(endOf(await t.claimOne(), failure));
  // It is retried in an hour; its wait begins only then.
  await hoursPass(1);
  await t.sql`update job_run_steps set not_before = not_before - interval '1 hour'`;
  await endWaits();
  expect(await statusesOf(runId)).toEqual(['ready']);
  await hoursPass(2);
  await endWaits();
  expect(await statusesOf(runId)).toEqual(['timed_out']);
});

test('hosts wait from the moment another host was due for a retry or held, however long that had run', async () => {
  await t.connect(t.agent, { slots: 1 });
  const retry = { attempts: 2, delay: 0, on: ['exit_code' as const] };
  const runId = await t.start({ targets: 2, rules: [{ retry, on_unknown: 'hold' }] });
  for (const [outcome, then] of [
    [failure, ['ready', 'ready']],
    [undefined, ['held', 'ready']],
  ] as const) {
    const lease = await t.claimOne();
    await hoursPass(5);
    await t.settle(outcome === undefined ? givenUp(lease) : endOf(lease, outcome));
    await endWaits();
    expect(await statusesOf(runId)).toEqual(then);
  }
  await hoursPass(1);
  await endWaits();
  expect(await statusesOf(runId)).toEqual(['held', 'timed_out']);
});
