// What an agent says about steps that others were leased ahead of their turn.
import { expect, test } from 'vitest';
import { returnLeases } from '../leases/return-leases.ts';
import { endOf, failure, setupRuns, success } from '../testing.ts';

test('a step that fails closes what was leased to follow it, whatever others say about that at the same time', async () => {
  await using t = await setupRuns();
  const liar = await t.addAgent('liar');
  await t.sql`update agent_sessions set disconnected_at = clock_timestamp() where agent_id = ${liar.agentId}`;
  const runId = await t.start({ steps: 4 });
  const [{ next, ahead: [third] = [] } = {}] = (
    await t.settle(endOf(await t.claimOne(), success, { wantsNext: true, ahead: 2 }))
  ).results;
  if (next === undefined || third === undefined) throw new Error('nothing was leased');
  const lie = endOf({ ...third, ...liar, epoch: 9, leaseToken: 'made up'.repeat(5) });
  await t.settle(lie, endOf(next, failure));
  expect((await t.steps(runId)).map(({ status }) => status)).toEqual([
    ...['succeeded', 'failed', 'skipped', 'skipped'],
  ]);
});

test('a step is not run after the one before it has failed, whatever others say at the same time', async () => {
  await using t = await setupRuns();
  const liar = await t.addAgent('liar');
  await t.sql`update agent_sessions set disconnected_at = clock_timestamp() where agent_id = ${liar.agentId}`;
  const runId = await t.start({ steps: 4 });
  const [{ next, ahead: [third, fourth] = [] } = {}] = (
    await t.settle(endOf(await t.claimOne(), success, { wantsNext: true, ahead: 2 }))
  ).results;
  if (next === undefined || third === undefined || fourth === undefined)
    throw new Error('nothing was leased');
  const lie = endOf({ ...third, ...liar, epoch: 9, leaseToken: 'made up'.repeat(5) });
  await t.settle(lie, endOf(next, failure));
  // Its agent hands it back, as it does when the step before has failed.
  await returnLeases(
    t.sql,
    [third, fourth].map(({ id: stepId, epoch, leaseToken, agentId }) => ({
      ...{ stepId, epoch, leaseToken, agentId },
    })),
  );
  expect(await t.claim()).toEqual([]);
  expect(await t.run(runId)).toMatchObject({ status: 'failed', completedSteps: 4 });
});
