// Claims while the database refuses to write the row of a step.
import { agentCapabilities } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { refuseToWrite, setupRuns, type TestRuns, testServerId } from '../../../runs/testing.ts';
import { claimRunsApart } from './claim-apart.ts';
import { claimSteps, newClaimId } from './claims.ts';

async function claimApart(t: TestRuns) {
  await expect(claimSteps(t.sql, testServerId)).rejects.toThrow('can not be written');
  const { steps, refused } = await claimRunsApart(t.sql, testServerId, newClaimId());
  return { runs: steps.map(({ jobRunId }) => jobRunId), refused };
}

async function refuseStepOf(t: TestRuns, runId: number) {
  const [step] = await t.steps(runId);
  return refuseToWrite(t.sql, step?.id ?? 0);
}

test('all kinds of agents are served while a step’s row can’t be written', async () => {
  await using t = await setupRuns();
  await t.connect(await t.addAgent('able'), { capabilities: agentCapabilities });
  const bad = await t.start();
  const job = { parameters: { word: { type: 'string' as const, default: 'hello' } } };
  const rules = [{ config: { command: 'echo "${{ parameters.word }}"' } }];
  const forAble = await t.start({ rules, job });
  await refuseStepOf(t, bad);
  expect(await claimApart(t)).toEqual({ runs: [forAble], refused: [bad] });
});

test('a step whose time has come and whose row can’t be written keeps no others waiting, also if theirs has come', async () => {
  await using t = await setupRuns();
  const runs = [await t.start(), await t.start(), await t.start()];
  const [bad = 0, due = 0, ready = 0] = runs;
  await t.sql`
    update job_run_steps set not_before = clock_timestamp() - interval '1 second' where job_run_id in ${t.sql([bad, due])}`;
  await refuseStepOf(t, bad);
  expect(await claimApart(t)).toEqual({ runs: [due, ready], refused: [bad] });
});
