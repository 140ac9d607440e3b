// Waits that took too long in a run whose steps have no rules of their own.
import { expect, test } from 'vitest';
import { endOf, setupRuns } from '../testing.ts';
import { endLongWaits } from './end-waits.ts';

test('a step in the middle of a job that no agent takes in time ends, and with it its target run', async () => {
  await using t = await setupRuns();
  const runId = await t.start({ steps: 3 });
  await t.settle(endOf(await t.claimOne()));
  const ago = t.sql`interval '2 days'`;
  await t.sql`update job_runs set created_at = created_at - ${ago}, start_by = start_by - ${ago}`;
  await t.sql`
    update job_run_steps set waits_since = waits_since - ${ago}, leased_at = leased_at - ${ago},
      completed_at = completed_at - ${ago}`;
  await t.sql`update job_run_step_attempts set settled_at = settled_at - ${ago}`;
  await endLongWaits(t.sql, runId);
  expect((await t.steps(runId)).map(({ status }) => status)).toEqual(['succeeded', 'timed_out', 'skipped']);
  expect(await t.run(runId)).toMatchObject({ status: 'timed_out', completedSteps: 3 });
});
