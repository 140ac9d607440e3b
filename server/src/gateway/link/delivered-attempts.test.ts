// Attempts that were delivered to an agent and that it does not list.
import { limits } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { cancelRun } from '../../runs/ends/cancel-run.ts';
import { awaitedAttempts } from '../../store/agents/agent-sessions.ts';
import { beat, chunk, completion, leased } from '../leases/leased-testing.ts';
import { type AgentSocket, setupGateway } from '../testing.ts';
import { DeliveredAttempts } from './delivered-attempts.ts';

test('a lease that an agent does not list goes back when it reconnects, which it has to do after three heartbeats', async () => {
  await using t = await leased();
  await beat(t.agentSocket, 1, []);
  await beat(t.agentSocket, 2, [[t.lease.step, 1]]);
  await beat(t.agentSocket, 3, []);
  await beat(t.agentSocket, 4, []);
  expect(await t.steps(t.runId)).toMatchObject([{ status: 'running', epoch: 1 }]);
  t.agentSocket.send({ type: 'heartbeat', sequence: 5, held: [] });
  await t.agentSocket.closed;
  const { leases } = await (await t.connectAgent()).next('leases');
  expect(leases).toMatchObject([{ step: t.lease.step, epoch: 2 }]);
});

/** Sends heartbeats in which the agent lists nothing. */
async function listNothing(agent: AgentSocket, times: number): Promise<void> {
  for (let sequence = 1; sequence <= times; sequence += 1) {
    agent.send({ type: 'heartbeat', sequence, held: [] });
    await agent.next('heartbeat_ack');
  }
}

test('a lease that its agent does not list may still be on the way: the connection ends, and the resume tells', async () => {
  await using t = await leased();
  for (let sequence = 1; sequence <= 3; sequence += 1)
    t.agentSocket.send({ type: 'heartbeat', sequence, held: [] });
  await t.agentSocket.closed;
  expect(await t.steps(t.runId)).toMatchObject([{ status: 'running', epoch: 1 }]);
  const { step, epoch, leaseToken } = t.lease;
  const attempts = [{ step, epoch, leaseToken, state: 'leased' as const, lastSeq: 0 }];
  const again = await t.connectAgent({ attempts });
  expect(again.resumed.attempts).toMatchObject([{ verdict: 'continue' }]);
  again.terminate();
  const third = await t.connectAgent();
  expect((await third.next('leases')).leases).toMatchObject([{ step, epoch: 2 }]);
});

test('what an agent says right after three heartbeats from before the lease reached it is taken completely', async () => {
  await using t = await leased();
  for (let sequence = 1; sequence <= 3; sequence += 1)
    t.agentSocket.send({ type: 'heartbeat', sequence, held: [] });
  const frame = chunk(t.lease, 1, 'one\n');
  const { step, epoch, leaseToken } = t.lease;
  t.agentSocket.send({ type: 'started', step, epoch, leaseToken });
  t.agentSocket.sendFrame(frame);
  t.agentSocket.send(completion(t.lease, [frame]));
  await t.agentSocket.closed;
  const attempts = [{ step, epoch, leaseToken, state: 'finished' as const, lastSeq: 1 }];
  const again = await t.connectAgent({ attempts });
  if (again.resumed.attempts[0]?.verdict === 'continue') {
    again.sendFrame(frame);
    again.send(completion(t.lease, [frame]));
    await again.next('completed');
  }
  expect(await t.steps(t.runId)).toMatchObject([
    { status: 'succeeded', outputState: 'complete', outputBytes: 4 },
  ]);
});

test('the same goes for a step that was given up meanwhile: what it prints once its lease arrives is not lost', async () => {
  await using t = await leased();
  await beat(t.agentSocket, 1, []);
  await beat(t.agentSocket, 2, []);
  await cancelRun(t.sql, t.runId, t.caller, { force: true });
  t.agentSocket.send({ type: 'heartbeat', sequence: 3, held: [] });
  const frame = chunk(t.lease, 1, 'one\n');
  const { step, epoch, leaseToken } = t.lease;
  const report = async (agent: AgentSocket) => {
    agent.sendFrame(frame);
    agent.send(completion(t.lease, [frame]));
    await agent.next('completed').catch(() => agent.closed);
  };
  await t.agentSocket.next('heartbeat_ack').catch(() => undefined);
  await report(t.agentSocket);
  const attempts = [{ step, epoch, leaseToken, state: 'finished' as const, lastSeq: 1 }];
  const again = await t.connectAgent({ attempts });
  if (again.resumed.attempts[0]?.verdict !== 'forget') await report(again);
  const told = await t.sql`select late_status, output_state from job_run_step_attempts`;
  expect(told).toEqual([{ lateStatus: 'succeeded', outputState: 'complete' }]);
});

test('an attempt is awaited of its agent from when it was given up until its result is there', async () => {
  await using t = await leased();
  const [held] = await t.sql<
    { agentId: number }[]
  >`select agent_id from job_run_steps where status = 'running'`;
  const agentId = held?.agentId ?? 0;
  const { step: stepId, epoch, leaseToken } = t.lease;
  const awaited = (of = agentId) => awaitedAttempts(t.sql, of, [{ stepId, epoch }]);
  expect(await awaited()).toEqual([]);
  await cancelRun(t.sql, t.runId, t.caller, { force: true });
  expect(await awaited()).toMatchObject([{ leaseToken }]);
  expect(await awaited(agentId + 1)).toEqual([]);
  t.agentSocket.send(completion(t.lease, []));
  await t.agentSocket.next('completed');
  expect(await awaited()).toEqual([]);
});

test('a next step that takes long to be delivered is not missed before it is', async () => {
  let goOn = () => {};
  const held = new Promise<void>((resolve) => {
    goOn = resolve;
  });
  let builds = 0;
  await using t = await setupGateway({}, (builder) => ({
    async build(steps) {
      builds += 1;
      if (builds === 2) await held;
      return builder.build(steps);
    },
  }));
  const agent = await t.connectAgent();
  await t.start({ steps: 2 });
  const [lease] = (await agent.next('leases')).leases;
  if (lease === undefined) throw new Error('no lease');
  agent.send(completion(lease, []));
  await expect.poll(() => builds).toBe(2);
  await listNothing(agent, 4);
  goOn();
  expect((await agent.next('completed')).next).toMatchObject({ epoch: 1 });
  await listNothing(agent, 1);
});

/** Attempts that are delivered as `add` is called. */
function delivered() {
  const attempts = new DeliveredAttempts();
  let stepId = 0;
  const add = (targetRunId: number, stepNumber = 1) => {
    stepId += 1;
    const attempt = { stepId, epoch: 1, leaseToken: 't', runId: 1, targetRunId, stepNumber };
    attempts.add([{ ...attempt, attemptDay: '', ackedSeq: 0, outputBytes: 0 }]);
  };
  return { attempts, add, count: () => stepId };
}

test('however many target runs ask at once, what is leased ahead fits into a heartbeat', () => {
  for (const runs of [1, 16, 37, 200, 256, 257, limits.maxSlots]) {
    const { attempts, add, count } = delivered();
    for (let run = 1; run <= runs; run += 1) add(run);
    // Twice, as if nothing of it came to an end.
    for (const round of [0, 1]) {
      const room = Math.min(attempts.roomAhead, limits.maxStepsAhead);
      for (let run = 1; run <= runs; run += 1)
        for (let step = 0; step < room; step += 1) add(run, 2 + 10 * round + step);
    }
    for (let other = 1_000; attempts.slots < limits.maxSlots; other += 1) add(other);
    expect([runs, count() <= limits.maxHeldAttemptsPerHeartbeat]).toEqual([runs, true]);
  }
});

test('an agent with a few target runs is leased many steps of each, one with many none', () => {
  const { attempts, add } = delivered();
  for (let run = 1; run <= 16; run += 1) add(run);
  expect(attempts.roomAhead).toBeGreaterThanOrEqual(limits.maxStepsAhead);
  for (let run = 17; run <= 65; run += 1) add(run);
  expect(attempts.roomAhead).toBe(0);
});
