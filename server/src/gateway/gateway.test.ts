// The sessions of agents with one server, from the first lease to the end of either side.
import { closeCodes, type Lease, limits } from '@opsconductor/protocol';
import { expect, test, vi } from 'vitest';
import { resumeAgent } from '../runs/leases/resume-agent.ts';
import { completion, leased } from './leases/leased-testing.ts';
import { type AgentSocket, emptyResume, setupGateway, type TestGateway } from './testing.ts';

const onSecond = '0b7e1c52-0000-4000-8000-000000000002';

test('a lease has what the step needs, and the run is running', async () => {
  await using t = await leased();
  expect(t.lease).toMatchObject({
    epoch: 1,
    runId: t.runId,
    stepType: 'ssh.exec',
    config: { command: 'true' },
    target: { name: 'host-1', host: '10.0.0.1', port: 22, hostKeys: [] },
    credential: { kind: 'ssh_password', version: 1, sealed: { v: 1 } },
  });
  await expect.poll(async () => (await t.run(t.runId)).status).toBe('running');
});

test('a step that goes on is announced at the resume if the server that leased it was killed before announcing it', async () => {
  await using t = await setupGateway();
  const session = await t.connect(t.agent, { serverId: onSecond });
  const runId = await t.start({ job: { timeout: 60 } });
  const [lease] = await t.claim(onSecond);
  if (lease === undefined) throw new Error('no lease');
  expect(session.agentId).toBe(lease.agentId);
  expect(await t.run(runId)).toMatchObject({ status: 'queued' });
  const { id: step, epoch, leaseToken } = lease;
  await t.connectAgent({ attempts: [{ step, epoch, leaseToken, state: 'running', lastSeq: 0 }] });
  await expect.poll(async () => (await t.run(runId)).status).toBe('running');
  const [told] = await t.sql`
    select st.started_at = st.leased_at as from_lease, r.started_at is not null as has_begun, tr.status
    from job_run_steps st join job_runs r on r.id = st.job_run_id join job_run_targets tr on tr.id = st.target_run_id
    where st.id = ${step}`;
  expect(told).toEqual({ fromLease: true, hasBegun: true, status: 'running' });
});

test('the newest connection of an agent wins', async () => {
  await using t = await leased();
  await t.connectAgent();
  expect(await t.agentSocket.closed).toBe(closeCodes.replaced);
  expect(t.gateway.connectedAgents()).toBe(1);
});

test('agents are told within which time to reconnect: the more agents, the longer', async () => {
  await using t = await setupGateway();
  const agent = await t.connectAgent();
  agent.send({ type: 'heartbeat', sequence: 1, held: [] });
  const { reconnectWithinMs } = await agent.next('heartbeat_ack');
  expect(reconnectWithinMs).toBe(limits.reconnectPerFirstAgentMs);
});

test('an agent that is silent for its lease time is disconnected', async () => {
  await using t = await setupGateway({ leaseTtlMs: 20_000 });
  const agent = await t.connectAgent();
  const now = performance.now.bind(performance);
  using _ = vi.spyOn(performance, 'now').mockImplementation(() => now() + 20_001);
  // The server closes in order; a frozen agent could not even answer that.
  expect([closeCodes.silent, 1006]).toContain(await agent.closed);
  await expect.poll(() => t.gateway.connectedAgents()).toBe(0);
});

test.each<[string, (t: TestGateway, agent: AgentSocket) => void]>([
  ['a message that its schema refuses', (_, agent) => agent.sendText(JSON.stringify({ type: 'heartbeat' }))],
  ['a message of no known type', (_, agent) => agent.sendText(JSON.stringify({ type: 'hello' }))],
  ['a second resume', (_, agent) => agent.send(emptyResume)],
  ['a second proof', async (t, agent) => agent.send(await t.proof(challenge))],
  ['bytes that are no output frame', (_, agent) => agent.sendBytes(new Uint8Array(64))],
])('an agent that sends %s is disconnected', async (_, misbehave) => {
  await using t = await setupGateway();
  const agent = await t.connectAgent();
  misbehave(t, agent);
  expect(await agent.closed).toBe(closeCodes.invalidMessage);
});

const challenge = {
  type: 'challenge' as const,
  serverNonce: `${'A'.repeat(43)}=`,
  installationId: 'x',
  serverId: 'y',
  versions: [1],
};

test('a gateway that stops sends its agents elsewhere, and their steps go on', async () => {
  await using t = await leased();
  await t.gateway.stop();
  expect(await t.agentSocket.closed).toBe(closeCodes.serverRestart);
  expect(await t.steps(t.runId)).toMatchObject([{ status: 'running', epoch: 1 }]);
});

test('an orderly stop leaves nothing unknown: completed steps are settled, others go on elsewhere', async () => {
  await using t = await setupGateway();
  const agent = await t.connectAgent();
  const runId = await t.start({ targets: 2 });
  const leases: Lease[] = [];
  while (leases.length < 2) leases.push(...(await agent.next('leases')).leases);
  const [done, running] = leases;
  if (done === undefined || running === undefined) throw new Error('not leased');
  for (const { step, epoch, leaseToken } of leases) agent.send({ type: 'started', step, epoch, leaseToken });
  agent.send(completion(done, []));
  await agent.next('completed');
  await t.gateway.stop();
  expect(await agent.closed).toBe(closeCodes.serverRestart);
  // The agent resumes with another server.
  const { step, epoch, leaseToken } = running;
  const session = await t.connect(t.agent, { ready: false });
  const resumed = await resumeAgent(t.sql, {
    ...session,
    slots: 8,
    draining: false,
    version: '0.1.0',
    platform: 'linux-x64',
    hostname: null,
    journalIntact: true,
    attempts: [{ step, epoch, leaseToken, state: 'running', lastSeq: 0 }],
  });
  expect(resumed).toMatchObject({ verdicts: [{ step, verdict: 'continue' }], ends: [] });
  const statuses = new Map((await t.steps(runId)).map((row) => [row.id, row.status]));
  expect([statuses.get(done.step), statuses.get(step)]).toEqual(['succeeded', 'running']);
});

test('a slot that becomes free is filled with a step that waited for it', async () => {
  // At once, not at the next poll.
  await using t = await setupGateway({}, undefined, { claimPollMs: 3_600_000 });
  const agent = await t.connectAgent({ slots: 1 });
  await t.start({ targets: 2 });
  const [first] = (await agent.next('leases')).leases;
  if (first === undefined) throw new Error('nothing was leased');
  agent.send(completion(first, []));
  expect((await agent.next('completed')).result).toBe('settled');
  expect((await agent.next('leases')).leases).toHaveLength(1);
});

test('an attempt whose settlement the agent did not hear of is known to be settled', async () => {
  await using t = await leased();
  const { step, epoch, leaseToken } = t.lease;
  t.agentSocket.send(completion(t.lease, []));
  await t.agentSocket.next('completed');
  t.agentSocket.terminate();
  const again = await t.connectAgent({
    attempts: [
      { step, epoch, leaseToken, state: 'finished', lastSeq: 0 },
      { step: 4711, epoch: 1, leaseToken: 'of-another-installation', state: 'finished', lastSeq: 0 },
    ],
  });
  expect(again.resumed.attempts).toEqual([
    { step, epoch, verdict: 'forget', ackedSeq: 0, settled: true },
    { step: 4711, epoch: 1, verdict: 'forget', ackedSeq: 0 },
  ]);
  // If the agent had sent it before the verdict came, it is answered as before.
  again.send(completion(t.lease, []));
  expect(await again.next('completed')).toMatchObject({ requestId: 'request-1', result: 'settled' });
});

test('news of their segment that agents missed while the bus was lost reaches them when it is back', async () => {
  await using t = await setupGateway();
  const agent = await t.connectAgent();
  await agent.next('segment_state');
  await t.sql`
    select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and query like 'listen %'`;
  const newcomer = await t.addAgent('agent-b', { hasSegmentKey: false });
  let state = await agent.next('segment_state');
  while (state.wanting.length === 0) state = await agent.next('segment_state');
  expect(state.wanting).toMatchObject([{ agentId: newcomer.agentId }]);
});
