// Slots of target runs whose steps were leased ahead of their turn.
import type { Lease, StepOutcome } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { blockedBackends, holdTransaction } from '../../runs/testing.ts';
import type { Tx } from '../../store/database/connection.ts';
import { setupGateway } from '../testing.ts';
import { completion } from './leased-testing.ts';

const short: StepOutcome = { status: 'succeeded', exitCode: 0, executionTimeMs: 3 };
const failed: StepOutcome = { status: 'failed', exitCode: 1, reason: 'exit_code' };

test('a slot is given to another run as soon as its step has failed, even if what was to follow comes back later', async () => {
  // Nothing is claimed unless news says so.
  await using t = await setupGateway({}, undefined, { claimPollMs: 3_600_000 });
  const agent = await t.connectAgent({ capabilities: ['leases_ahead'], slots: 2 });
  const chain = async (jobRun: Promise<number>) => {
    const runId = await jobRun;
    await t.gateway.publish({ runs: [], segments: [t.segmentId], cancel: [] });
    const [first] = (await agent.next('leases')).leases;
    if (first === undefined) throw new Error('no lease');
    agent.send(completion(first, [], { requestId: `request-${first.step}`, outcome: short }));
    const { next } = await agent.next('completed');
    const { leases } = await agent.next('leases');
    if (next === undefined) throw new Error('no next step');
    return { runId, next, leases };
  };
  const one = await chain(t.start({ steps: 4 }));
  const two = await chain(t.start({ steps: 4 }));
  const other = await t.start();
  t.gateway.publish({ runs: [], segments: [t.segmentId], cancel: [] });
  const back = (leases: readonly Lease[]) =>
    agent.send({
      type: 'return',
      attempts: leases.map(({ step, epoch, leaseToken }) => ({ step, epoch, leaseToken })),
      reason: 'lease_expired',
    });
  // What the agent hands back of the first run is held up.
  const lock = (tx: Tx) => tx`select 1 from job_runs where id = ${one.runId} for update`;
  const release = await holdTransaction(t.sql, lock);
  back(one.leases);
  await blockedBackends(t.sql, 1);
  back(two.leases);
  agent.send(completion(two.next, [], { requestId: 'request-two', outcome: failed }));
  expect(await agent.next('completed')).toMatchObject({ step: two.next.step, result: 'settled' });
  await release();
  const [later] = (await agent.next('leases')).leases;
  expect(later?.runId).toBe(other);
});
