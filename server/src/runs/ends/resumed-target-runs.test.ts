// During an upgrade, a server of the version before doesn't know that a target run was cancelled by itself. What it goes
// on with is ended by the sweep of a server of this version. The states that it leaves are made here by hand.
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createLog } from '../../log.ts';
import { attemptsToStopOn } from '../../store/queue/sweep/sweep.ts';
import type { ProgressNews } from '../progress/run-ledger.ts';
import { endOf, givenUp, setupRuns, success, type TestRuns, testServerId } from '../testing.ts';
import { cancelTargetRun } from './cancel-target-run.ts';
import { Sweeper } from './sweeper.ts';

let t: TestRuns;
let published: ProgressNews[];
let sweeper: Sweeper;
beforeEach(async () => {
  t = await setupRuns();
  published = [];
  const log = createLog({ level: 'silent', plain: false });
  const publish = (news: ProgressNews) => published.push(news);
  sweeper = new Sweeper({ sql: t.sql, serverId: testServerId, log, publish });
});
afterEach(() => t[Symbol.asyncDispose]());

const touchClock = () => t.sql`update cluster_clock set touched_at = clock_timestamp()`;
const sweep = async () => {
  // After a longer gap, a sweep would only extend leases.
  await touchClock();
  await sweeper.sweep();
};
const hosts = async (runId: number) =>
  (
    await t.sql<{ status: string }[]>`
      select status from job_run_targets where job_run_id = ${runId} order by id`
  ).map(({ status }) => status);
const steps = async (runId: number) => (await t.steps(runId)).map(({ status }) => status);
const cleanUp = { when_status: 'always' } as const;

/** As if it had been cancelled while the other server was about to write what it did. */
const markCancelled = (targetRunId: number, status: string) => t.sql`
  update job_run_targets set cancel_requested_at = clock_timestamp(), status = ${status} where id = ${targetRunId}`;

/** Starts a run on two hosts; returns the lease of the first step on the first. */
async function started(rules: NonNullable<NonNullable<Parameters<TestRuns['start']>[0]>['rules']>) {
  const runId = await t.start({ targets: 2, rules });
  const [mine] = await t.claim();
  if (mine === undefined) throw new Error('not leased');
  return { runId, mine };
}

test('the next step that was made ready there is cancelled, and the clean-up runs', async () => {
  const { runId, mine } = await started([{}, {}, cleanUp]);
  await t.settle(endOf(mine, success));
  await markCancelled(mine.targetRunId, 'cancelling');
  expect(await steps(runId)).toEqual(['succeeded', 'ready', 'pending', 'running', 'pending', 'pending']);
  await sweep();
  expect(await steps(runId)).toEqual(['succeeded', 'cancelled', 'ready', 'running', 'pending', 'pending']);
  expect(await hosts(runId)).toEqual(['cancelling', 'queued']);
  const eventSeq = async () => (await t.sql`select event_seq from job_runs where id = ${runId}`)[0]?.eventSeq;
  const before = await eventSeq();
  // A clean-up that waits is no reason to do it again.
  await sweep();
  expect(await eventSeq()).toBe(before);
});

test('it is cancelled also if another server sweeps for all', async () => {
  const { runId, mine } = await started([{}, {}]);
  await t.settle(endOf(mine, success));
  await markCancelled(mine.targetRunId, 'cancelling');
  await touchClock();
  await sweeper.sweep(60);
  expect(await hosts(runId)).toEqual(['cancelled', 'queued']);
});

test('a step that is held there ends unknown, and with it the host', async () => {
  const { runId, mine } = await started([{ on_unknown: 'hold' }, {}]);
  await t.settle(givenUp(mine));
  expect(await hosts(runId)).toEqual(['held', 'queued']);
  await markCancelled(mine.targetRunId, 'held');
  await sweep();
  expect(await steps(runId)).toEqual(['unknown', 'cancelled', 'running', 'pending']);
  expect(await hosts(runId)).toEqual(['unknown', 'queued']);
});

test('what runs on a host that was reopened there is told to stop', async () => {
  const { runId, mine } = await started([{}, {}]);
  await markCancelled(mine.targetRunId, 'running');
  await sweep();
  expect(await hosts(runId)).toEqual(['cancelling', 'queued']);
  expect(published.flatMap(({ cancelTargetRuns = [] }) => cancelTargetRuns)).toContain(mine.targetRunId);
  expect(await attemptsToStopOn(t.sql, [mine.targetRunId])).toMatchObject([{ stepId: mine.id }]);
});

test('a server of the version before may hold the host, and leases none of its steps but a clean-up', async () => {
  const { runId, mine } = await started([{}, {}, cleanUp]);
  await cancelTargetRun(t.sql, { runId, targetRunId: mine.targetRunId }, t.caller);
  await t.sql`update job_run_targets set status = 'held' where id = ${mine.targetRunId}`;
  expect(await hosts(runId)).toEqual(['held', 'queued']);
  const makeReady = (number: number) => t.sql`
    update job_run_steps set status = 'ready' where target_run_id = ${mine.targetRunId} and step_number = ${number}`;
  await makeReady(2);
  expect(await t.claim()).toEqual([]);
  await makeReady(3);
  expect((await t.claim()).map(({ stepNumber }) => stepNumber)).toEqual([3]);
});

test('a host that nobody cancelled may not go from being cancelled to being held', async () => {
  const { runId, mine } = await started([{}]);
  await t.sql`update job_run_targets set status = 'cancelling' where id = ${mine.targetRunId}`;
  const wrong = t.sql`update job_run_targets set status = 'held' where job_run_id = ${runId} and id = ${mine.targetRunId}`;
  await expect(wrong).rejects.toThrow(/cancelling to held/);
});
