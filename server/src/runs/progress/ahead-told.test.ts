// What readers are told of steps that were leased ahead of their turn.
import type { RunChange } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { returnLeases } from '../leases/return-leases.ts';
import { endOf, failure, setupRuns, success } from '../testing.ts';

test('readers are told that a step which is handed back has no open output', async () => {
  await using t = await setupRuns();
  const runId = await t.start({ steps: 3 });
  const [{ next, ahead: [third] = [] } = {}] = (
    await t.settle(endOf(await t.claimOne(), success, { wantsNext: true, ahead: 1 }))
  ).results;
  if (next === undefined || third === undefined) throw new Error('nothing was leased');
  const told = async () => {
    const events = await t.sql<{ change: RunChange }[]>`
      select change from run_events where job_run_id = ${runId} order by seq`;
    const changes = events.flatMap(({ change }) => change.steps?.filter(({ id }) => id === third.id) ?? []);
    return Object.assign({}, ...changes);
  };
  expect(await told()).toMatchObject({ status: 'running', outputState: 'open' });
  const { id: stepId, epoch, leaseToken, agentId } = third;
  await returnLeases(t.sql, [{ stepId, epoch, leaseToken, agentId }]);
  expect(await told()).toMatchObject({ status: 'pending', outputState: 'complete', agentName: null });
  await t.settle(endOf(next, failure));
  const [, , row] = await t.steps(runId);
  expect(await told()).toMatchObject({ status: row?.status, outputState: row?.outputState });
});
