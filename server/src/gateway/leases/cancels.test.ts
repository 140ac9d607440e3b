// How a cancel gets to the agent that has the step.
import { expect, test } from 'vitest';
import { cancelRun } from '../../runs/ends/cancel-run.ts';
import { cancelTargetRun } from '../../runs/ends/cancel-target-run.ts';
import { emptyResume } from '../testing.ts';
import { beat, leased } from './leased-testing.ts';

test('a cancel reaches the agent that runs the step', async () => {
  await using t = await leased();
  t.gateway.publish(await cancelRun(t.sql, t.runId, t.caller));
  expect(await t.agentSocket.next('cancel')).toMatchObject({ step: t.lease.step, epoch: 1 });
});

test('an agent that goes on with an attempt that was given up is told again to stop it', async () => {
  await using t = await leased();
  await cancelRun(t.sql, t.runId, t.caller, { force: true });
  expect(await t.agentSocket.next('cancel')).toMatchObject({ step: t.lease.step, epoch: 1 });
  for (let sequence = 1; sequence <= 3; sequence += 1)
    await beat(t.agentSocket, sequence, [[t.lease.step, 1]]);
  expect(await t.agentSocket.next('cancel')).toMatchObject({ step: t.lease.step, epoch: 1 });
});

test('a cancel that another server took reaches the agent over the bus', async () => {
  await using t = await leased();
  await cancelRun(t.sql, t.runId, t.caller);
  expect(await t.agentSocket.next('cancel')).toMatchObject({ step: t.lease.step });
});

test('an agent is told of no cancel before it was told what became of its attempts', async () => {
  await using t = await leased();
  const again = t.dial();
  again.send(await t.proof(await again.next('challenge')));
  const { generation } = await again.next('welcome');
  t.gateway.publish(await cancelRun(t.sql, t.runId, t.caller));
  // By then the server has looked up what is to be stopped.
  for (let round = 0; round < 20; round += 1) await t.sql`select count(*) from job_run_steps`;
  expect(again.untaken).toEqual([]);
  const { step, epoch, leaseToken } = t.lease;
  const attempts = [{ step, epoch, leaseToken, state: 'running' as const, lastSeq: 0 }];
  again.send({ ...emptyResume, generation, attempts });
  expect(await again.next('resumed')).toMatchObject({ attempts: [{ verdict: 'cancel' }] });
});

test('a cancel of one target run reaches the agent, also over the bus, and when the agent comes back', async () => {
  await using t = await leased();
  const [{ id: targetRunId = 0 } = {}] =
    await t.sql`select id from job_run_targets where job_run_id = ${t.runId}`;
  const name = { runId: t.runId, targetRunId };
  await cancelTargetRun(t.sql, name, t.caller);
  expect(await t.agentSocket.next('cancel')).toMatchObject({ step: t.lease.step, epoch: 1 });
  const { step, epoch, leaseToken } = t.lease;
  const again = t.dial();
  again.send(await t.proof(await again.next('challenge')));
  const { generation } = await again.next('welcome');
  const attempts = [{ step, epoch, leaseToken, state: 'running' as const, lastSeq: 0 }];
  again.send({ ...emptyResume, generation, attempts });
  expect(await again.next('resumed')).toMatchObject({ attempts: [{ verdict: 'cancel' }] });
});
