// A step that was leased ahead of its turn, and whose credential no agent can open any more.
import type { Lease } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { setupGateway } from '../testing.ts';
import { completion } from './leased-testing.ts';

const short = { status: 'succeeded', exitCode: 0, executionTimeMs: 3 } as const;

test('a step that comes back for its lost key before the one before it was settled fails when its turn has come', async () => {
  await using t = await setupGateway();
  const agent = await t.connectAgent({ capabilities: ['leases_ahead'] });
  const runId = await t.start({ steps: 4 });
  const complete = (lease: Lease) =>
    agent.send(completion(lease, [], { requestId: `request-${lease.step}`, outcome: short }));
  const back = ({ step, epoch, leaseToken }: Lease) =>
    agent.send({ type: 'return', attempts: [{ step, epoch, leaseToken }], reason: 'no_key' });
  const [first] = (await agent.next('leases')).leases;
  if (first === undefined) throw new Error('no lease');
  complete(first);
  const { next } = await agent.next('completed');
  const [third] = (await agent.next('leases')).leases;
  if (next === undefined || third === undefined) throw new Error('nothing was leased ahead');
  await t.sql`update credential_versions set generation = 9`;
  back(third);
  await expect.poll(async () => (await t.steps(runId))[2]).toMatchObject({ status: 'pending' });
  complete(next);
  const { next: again } = await agent.next('completed');
  if (again === undefined) throw new Error('no next step');
  expect(again).toMatchObject({ step: third.step, epoch: 2 });
  back(again);
  await expect.poll(async () => (await t.run(runId)).status).toBe('failed');
  expect((await t.steps(runId))[2]).toMatchObject({ status: 'failed', reason: 'credential_unusable' });
});
