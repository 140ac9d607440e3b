// Leases that go back: from the agent, and from a server that could not deliver them.
import { type AgentMessageOf, type Lease, limits } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { overdueAttempts } from '../../store/queue/sweep/sweep.ts';
import { setupGateway } from '../testing.ts';
import { completion, leased } from './leased-testing.ts';

test('a lease that is handed back is leased again', async () => {
  await using t = await leased();
  const { step, epoch, leaseToken } = t.lease;
  t.agentSocket.send({ type: 'return', reason: 'lease_expired', attempts: [{ step, epoch, leaseToken }] });
  expect((await t.agentSocket.next('leases')).leases).toMatchObject([{ step, epoch: 2 }]);
});

test('an agent that drains is leased nothing more, not even with a completion', async () => {
  await using t = await leased({ steps: 2 });
  t.agentSocket.send({ type: 'agent_drain' });
  t.agentSocket.send(completion(t.lease, []));
  const completed = await t.agentSocket.next('completed');
  expect(completed.result).toBe('settled');
  expect(completed.next).toBeUndefined();
  expect(await t.steps(t.runId)).toMatchObject([{ status: 'succeeded' }, { status: 'ready' }]);
});

test('an agent that stops in order leaves nothing unknown: what runs ends, what has not begun goes to others', async () => {
  await using t = await setupGateway();
  const agent = await t.connectAgent();
  const runId = await t.start({ targets: 2 });
  const leases: Lease[] = [];
  while (leases.length < 2) leases.push(...(await agent.next('leases')).leases);
  const [running, waiting] = leases;
  if (running === undefined || waiting === undefined) throw new Error('not leased');
  agent.send({ type: 'started', step: running.step, epoch: running.epoch, leaseToken: running.leaseToken });
  agent.send({ type: 'agent_drain' });
  const { step, epoch, leaseToken } = waiting;
  agent.send({ type: 'return', reason: 'draining', attempts: [{ step, epoch, leaseToken }] });
  agent.send(completion(running, []));
  expect((await agent.next('completed')).result).toBe('settled');
  agent.terminate();
  await expect.poll(() => t.gateway.connectedAgents()).toBe(0);
  const statuses = async () => (await t.steps(runId)).map((row) => [row.id, row.status]);
  const expected = [
    [running.step, 'succeeded'],
    [waiting.step, 'ready'],
  ].sort();
  await expect.poll(statuses).toEqual(expected);
  // However long it stays away.
  await t.sql`update agent_sessions set last_heartbeat_at = last_heartbeat_at - interval '1 day'`;
  expect(await overdueAttempts(t.sql, 30)).toEqual([]);
  const again = await t.connectAgent();
  expect((await again.next('leases')).leases).toMatchObject([{ step: waiting.step, epoch: 2 }]);
});

test('steps for a session whose connection is gone go back, and the session is over', async () => {
  await using t = await setupGateway();
  // The database still has the agent as connected to this server.
  const runId = await t.start();
  await expect.poll(async () => (await t.steps(runId))[0]).toMatchObject({ status: 'ready', epoch: 1 });
  expect(await t.claim()).toEqual([]);
  const agent = await t.connectAgent();
  expect((await agent.next('leases')).leases).toMatchObject([{ epoch: 2 }]);
});

test('steps for an agent whose connection was ended without an answer go back at once', async () => {
  await using t = await setupGateway();
  const agent = await t.connectAgent();
  agent.stopReading();
  agent.sendText('{}');
  await expect.poll(() => t.logged.join('')).toContain('agent sent an invalid message');
  const runId = await t.start();
  await expect.poll(async () => (await t.steps(runId))[0]).toMatchObject({ status: 'ready', epoch: 1 });
  expect(t.gateway.connectedAgents()).toBe(1);
  expect(await t.claim()).toEqual([]);
});

test('leases that could not be built go back, and are claimed again', async () => {
  let failures = 0;
  await using t = await setupGateway({}, (builder) => ({
    build(steps) {
      if (steps.length > 0 && failures++ === 0) return Promise.reject(new Error('the database is away'));
      return builder.build(steps);
    },
  }));
  const agent = await t.connectAgent();
  await t.start();
  expect((await agent.next('leases')).leases).toMatchObject([{ epoch: 2 }]);
});

test('a step that was begun does not become ready again, however soon afterwards it is handed back', async () => {
  await using t = await leased();
  const { step, epoch, leaseToken } = t.lease;
  t.agentSocket.send({ type: 'started', step, epoch, leaseToken });
  t.agentSocket.send({ type: 'return', reason: 'lease_expired', attempts: [{ step, epoch, leaseToken }] });
  await expect.poll(async () => (await t.steps(t.runId))[0]).toMatchObject({ status: 'unknown', epoch: 1 });
});

/** A command that goes on without its agent, and what that agent says to hand it back. */
async function detached() {
  const t = await setupGateway();
  const capabilities = ['take_over'];
  const agentSocket = await t.connectAgent({ capabilities });
  const runId = await t.start();
  const [lease] = (await agentSocket.next('leases')).leases;
  if (lease === undefined) throw new Error('no lease');
  const { step, epoch, leaseToken } = lease;
  agentSocket.send({ type: 'started', step, epoch, leaseToken, survives: true });
  const handBack: AgentMessageOf<'return'> = {
    type: 'return',
    reason: 'output_lost',
    attempts: [{ step, epoch, leaseToken }],
  };
  return Object.assign(t, { agentSocket, capabilities, runId, lease, handBack });
}

test('a command that every agent hands back is given to one five times, then it is unknown, and no connection is ended', async () => {
  await using t = await detached();
  const { agentSocket, lease, handBack } = t;
  agentSocket.send(handBack);
  for (let collector = 1; collector <= limits.maxTakeOvers; collector += 1) {
    const { attempts } = await agentSocket.next('take_over');
    expect(attempts).toMatchObject([{ collector, lease: { step: lease.step, epoch: 1 } }]);
    agentSocket.send(handBack);
  }
  await expect
    .poll(() => t.steps(t.runId))
    .toMatchObject([{ status: 'unknown', reason: 'supervisor_lost', epoch: 1 }]);
  expect(t.gateway.connectedAgents()).toBe(1);
  expect(t.logged.join('')).not.toContain('does not hold steps');
});

test('a command that its former agent hands back stays with the agent that has it', async () => {
  await using t = await detached();
  await expect.poll(() => t.sql`select from detached_attempts`).toHaveLength(1);
  const another = await t.addAgent('agent-b');
  const { sessionNumber } = await t.connect(another, { capabilities: t.capabilities });
  const { agentId } = another;
  await t.sql`update detached_attempts set collector = ${limits.maxTakeOvers}`;
  await t.sql`
    update job_run_steps set agent_id = ${agentId}, session_number = ${sessionNumber} where id = ${t.lease.step}`;
  t.agentSocket.send(t.handBack);
  // Handled after it.
  t.agentSocket.send({ type: 'agent_drain' });
  await expect.poll(() => t.sql`select from agent_sessions where draining`).toHaveLength(1);
  expect(await t.steps(t.runId)).toMatchObject([{ status: 'running', agentId, sessionNumber }]);
});
