// An agent that says it began a step ahead of its turn, and hands back the one before.
import { expect, test } from 'vitest';
import { endOf, setupRuns, success } from '../testing.ts';
import { markLeased } from './mark-leased.ts';
import { returnLeases } from './return-leases.ts';

test('a step that is handed back after its agent began the next one is not run beside that, or after the run', async () => {
  await using t = await setupRuns();
  const runId = await t.start({ steps: 3 });
  const [{ next, ahead: [third] = [] } = {}] = (
    await t.settle(endOf(await t.claimOne(), success, { wantsNext: true, ahead: 1 }))
  ).results;
  if (next === undefined || third === undefined) throw new Error('nothing was leased');
  const { agentId, sessionNumber } = t.agent;
  await markLeased(t.sql, [], [{ step: third.id, epoch: 1, agentId, sessionNumber }]);
  const { id: stepId, epoch, leaseToken } = next;
  await returnLeases(t.sql, [{ stepId, epoch, leaseToken, agentId }]);
  await t.settle(endOf(third));
  expect(await t.claim()).toEqual([]);
  expect((await t.steps(runId)).map(({ status }) => status)).not.toContain('ready');
});
