// Ends of steps whose target run still has an attempt that the server has given up.
import type { StepDefinition } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { createLog } from '../../log.ts';
import { decideHeld } from '../../runs/ends/decide-held.ts';
import { Sweeper } from '../../runs/ends/sweeper.ts';
import { testServerId } from '../../runs/testing.ts';
import { setupGateway } from '../testing.ts';
import { completion } from './leased-testing.ts';

/**
 * Step 1 was given up at its deadline while its command goes on, and its agent, which lists it, was leased what comes
 * next.
 */
async function givenUp(rules: Partial<StepDefinition>[], decision?: 'succeeded') {
  const t = await setupGateway({}, undefined, { claimPollMs: 50 });
  const agent = await t.connectAgent();
  const runId = await t.start({ rules });
  const [lease] = (await agent.next('leases')).leases;
  if (lease === undefined) throw new Error('no lease');
  agent.send({ type: 'started', step: lease.step, epoch: lease.epoch, leaseToken: lease.leaseToken });
  await t.sql`update job_run_steps set deadline_at = clock_timestamp() - interval '1 s' where id = ${lease.step}`;
  await t.sql`update cluster_clock set touched_at = clock_timestamp()`;
  const log = createLog({ level: 'silent', plain: false });
  const publish = (news: Parameters<typeof t.gateway.publish>[0]) => t.gateway.publish(news);
  await new Sweeper({ sql: t.sql, serverId: testServerId, log, publish }).sweep();
  if (decision !== undefined) {
    const request = { decision, note: 'looked on the target' };
    t.gateway.publish((await decideHeld(t.sql, runId, request, t.caller)).news);
  }
  const [later] = (await agent.next('leases')).leases;
  if (later === undefined) throw new Error('no second lease');
  return Object.assign(t, { agentSocket: agent, runId, lease, later });
}

test('after a person decided on a step, the end of the one that follows counts while the command goes on', async () => {
  await using t = await givenUp([{ on_unknown: 'hold' }, {}], 'succeeded');
  expect(t.later.step).not.toBe(t.lease.step);
  t.agentSocket.send(completion(t.later, []));
  expect(await t.agentSocket.next('completed')).toMatchObject({ step: t.later.step, result: 'settled' });
  expect((await t.run(t.runId)).status).toBe('succeeded');
});

test('a step that follows one that was run again counts while the attempt that was given up goes on', async () => {
  await using t = await givenUp([{ on_unknown: 'retry', idempotent: true }, {}]);
  expect(t.later).toMatchObject({ step: t.lease.step, epoch: 2 });
  t.agentSocket.send(completion(t.later, []));
  const { next } = await t.agentSocket.next('completed');
  if (next === undefined) throw new Error('no next step');
  t.agentSocket.send(completion(next, [], { requestId: 'request-2' }));
  expect(await t.agentSocket.next('completed')).toMatchObject({ step: next.step, result: 'settled' });
  expect((await t.run(t.runId)).status).toBe('succeeded');
});
