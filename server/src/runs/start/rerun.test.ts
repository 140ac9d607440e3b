import type { RerunRequest } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { waitUntilBlocked } from '../../segments/testing.ts';
import { inTransaction } from '../../store/database/transaction.ts';
import { runsNotStarted } from '../../store/queue/sweep/sweep.ts';
import { findRun, purgeRun } from '../../store/runs/runs.ts';
import { deleteTarget } from '../../targets/edit-targets.ts';
import { endUnstarted } from '../ends/end-waits.ts';
import { endOf, failure, setupRuns, type TestRuns } from '../testing.ts';
import { rerun } from './rerun.ts';
import { startRun } from './start-run.ts';

/** Makes a run on three targets, of which the second failed at its second step. */
async function endedRun(t: TestRuns): Promise<number> {
  const runId = await t.start({ targets: 3, steps: 3 });
  for (let step = 1; step <= 3; step += 1) {
    const claimed = await t.claim();
    await t.settle(
      ...claimed.map((lease, index) => endOf(lease, step === 2 && index === 1 ? failure : undefined)),
    );
  }
  return runId;
}

function runAgain(t: TestRuns, runId: number, request: RerunRequest) {
  return rerun(t.sql, runId, request, t.caller, (again) => startRun(t, again, t.caller));
}

test('a failed run is run again from the failed step on, where it failed, and both runs name each other', async () => {
  await using t = await setupRuns();
  const runId = await endedRun(t);
  const rerunId = (await runAgain(t, runId, { which: 'failed', from_step: 'failed' })).runId;
  expect((await t.steps(rerunId)).map(({ status, reason }) => [status, reason])).toEqual([
    ['skipped', 'rerun'],
    ['ready', null],
    ['pending', null],
  ]);
  expect(await findRun(t.sql, rerunId)).toMatchObject({ rerunOf: runId, jobVersion: 1, completedSteps: 1 });
  expect((await findRun(t.sql, runId))?.reruns).toEqual([rerunId]);
  for (let step = 2; step <= 3; step += 1) await t.settle(endOf(await t.claimOne()));
  expect(await t.run(rerunId)).toMatchObject({ status: 'succeeded', completedSteps: 3 });
});

test('a rerun from a later step that no agent takes ends like any run that did not start in time', async () => {
  await using t = await setupRuns();
  const runId = await endedRun(t);
  const rerunId = (await runAgain(t, runId, { which: 'failed', from_step: 'failed' })).runId;
  await t.sql`update job_runs set start_by = clock_timestamp() - interval '1 s' where id = ${rerunId}`;
  expect(await runsNotStarted(t.sql)).toEqual([rerunId]);
  await endUnstarted(t.sql, rerunId);
  expect((await t.steps(rerunId)).map(({ status }) => status)).toEqual(['skipped', 'timed_out', 'timed_out']);
  expect(await t.run(rerunId)).toMatchObject({ status: 'timed_out' });
});

test('a rerun that is not possible is refused with the reason, and nothing starts', async () => {
  await using t = await setupRuns();
  const open = await t.start();
  await expect(runAgain(t, open, { which: 'all' })).rejects.toMatchObject({ code: 'conflict' });
  await t.settle(endOf(await t.claimOne()));
  const runId = await endedRun(t);
  const refused = (request: RerunRequest) =>
    expect(runAgain(t, runId, request)).rejects.toMatchObject({ code: 'invalid' });
  await refused({ which: 'unknown' });
  await refused({ which: 'failed', from_step: 4 });
  await t.sql`update job_run_targets set target_id = null where job_run_id = ${runId}`;
  await refused({ which: 'not_succeeded' });
});

test('a rerun on a target that was deleted since is refused, naming the target', async () => {
  await using t = await setupRuns();
  const runId = await endedRun(t);
  const [failed] = await t.sql<{ id: number }[]>`
    select target_id as id from job_run_targets where job_run_id = ${runId} and status = 'failed'`;
  await deleteTarget(t.sql, failed?.id ?? 0, t.caller);
  await expect(runAgain(t, runId, { which: 'failed' })).rejects.toMatchObject({
    code: 'invalid',
    details: [{ path: 'which', message: expect.stringMatching(/^Target “host-2” has been deleted/) }],
  });
});

test('a run that is purged while it is run again is not found', async () => {
  await using t = await setupRuns();
  const runId = await endedRun(t);
  const purged = await inTransaction(t.sql, async (tx) => {
    await purgeRun(tx, runId);
    const outcome = runAgain(t, runId, { which: 'failed' }).catch((error) => error);
    await waitUntilBlocked(t, 1);
    return { outcome };
  });
  expect(await purged.outcome).toMatchObject({ code: 'not_found', message: `Run ${runId} not found.` });
});
