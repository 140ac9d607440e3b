import {
  type AgentMessageOf,
  agentCapabilities,
  closeCodes,
  type Lease,
  limits,
  type OutputFrame,
} from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { cancelRun } from '../runs/ends/cancel-run.ts';
import { LeaseBuilder } from '../runs/leases/lease-builder.ts';
import { resumeAgent } from '../runs/leases/resume-agent.ts';
import { chunkOf } from '../runs/output/output-testing.ts';
import type { ClaimedStep } from '../store/queue/claims.ts';
import { overdueAttempts } from '../store/queue/sweep.ts';
import { type AgentSocket, chainOf, emptyResume, setupGateway, type TestGateway } from './testing.ts';

const onSecond = '0b7e1c52-0000-4000-8000-000000000002';

/** A run of one target whose first step the agent was leased. */
async function leased(options: { steps?: number } = {}) {
  const t = await setupGateway();
  const agent = await t.connectAgent();
  const runId = await t.start(options);
  const { leases } = await agent.next('leases');
  const lease = leases[0];
  if (lease === undefined) throw new Error('no lease');
  return Object.assign(t, { agentSocket: agent, runId, lease });
}

function chunk(lease: Lease, seq: number, text: string): OutputFrame {
  return chunkOf({ id: lease.step, epoch: lease.epoch } as ClaimedStep, seq, text);
}

function completion(
  lease: Lease,
  frames: readonly OutputFrame[],
  more: Partial<AgentMessageOf<'complete'>> = {},
): AgentMessageOf<'complete'> {
  const { step, epoch, leaseToken } = lease;
  return {
    type: 'complete',
    requestId: 'request-1',
    step,
    epoch,
    leaseToken,
    outcome: { status: 'succeeded', exitCode: 0 },
    output: { ...claim(frames), truncated: false, gaps: [] },
    wantsNext: true,
    ...more,
  };
}

function claim(frames: readonly OutputFrame[]) {
  const rawBytes = frames.reduce((sum, frame) => sum + frame.rawLength, 0);
  return { lastSeq: frames.at(-1)?.seq ?? 0, rawBytes, digest: chainOf(frames) };
}

async function beat(agent: AgentSocket, sequence: number, held: [number, number][]): Promise<void> {
  agent.send({ type: 'heartbeat', sequence, held });
  await agent.next('heartbeat_ack');
}

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

test('an agent that can’t log in as another user is not leased such a step, and goes on with others', async () => {
  await using t = await setupGateway();
  const agent = await t.connectAgent();
  await t.sql`update segments set settings = '{"username": "deploy"}' where id = ${t.segmentId}`;
  const refused = await t.start({ steps: 2 });
  await expect.poll(async () => (await t.run(refused)).status).toBe('failed');
  const [first, second] = await t.steps(refused);
  expect(first).toMatchObject({ status: 'failed', reason: 'agent_too_old' });
  expect(first?.errorMessage).toContain('“host-1” is to be logged in to as “deploy”');
  expect(first?.advice).toContain('Upgrade the agent');
  expect(second).toMatchObject({ status: 'skipped' });
  const target = { id: 1, name: 'host-1', host: '10.0.0.1', port: 22, hostKeys: [], username: 'deploy' };
  expect(await t.gateway.testTarget({ segmentId: t.segmentId, target, timeoutMs: 1_000 })).toMatchObject({
    tested: { ok: false, reason: 'agent_too_old' },
  });
  await t.sql`update segments set settings = '{}' where id = ${t.segmentId}`;
  const runId = await t.start();
  expect((await agent.next('leases')).leases).toMatchObject([{ runId, epoch: 1 }]);
});

test('where another agent of the segment can log in as another user, the step is left to it', async () => {
  await using t = await setupGateway();
  const able = await t.addAgent('able');
  await t.connect(able, { serverId: onSecond, slots: 4, capabilities: ['username_setting'] });
  await t.connectAgent();
  await t.sql`update segments set settings = '{"username": "deploy"}' where id = ${t.segmentId}`;
  const runId = await t.start({ targets: 2 });
  await expect
    .poll(() => t.sql`select status, needs from job_run_steps where job_run_id = ${runId}`)
    .toEqual([
      { status: 'ready', needs: ['username_setting'] },
      { status: 'ready', needs: ['username_setting'] },
    ]);
  expect((await t.claim(onSecond)).map(({ agentId }) => agentId)).toEqual([able.agentId, able.agentId]);
});

test('the step after one that ended is left to another agent likewise', async () => {
  await using t = await setupGateway();
  const able = await t.addAgent('able');
  await t.connect(able, { serverId: onSecond, capabilities: ['username_setting', 'step_limits'] });
  const old = await t.connectAgent();
  const limited = { config: { command: 'true', limits: { nice: 5 } } };
  const runId = await t.start({ rules: [{}, limited] });
  const [lease] = (await old.next('leases')).leases;
  if (lease === undefined) throw new Error('no lease');
  old.send(completion(lease, []));
  expect(await old.next('completed')).not.toHaveProperty('next');
  expect(await t.steps(runId)).toMatchObject([{ status: 'succeeded' }, { status: 'ready' }]);
  expect(await t.claim(onSecond)).toMatchObject([{ stepNumber: 2, agentId: able.agentId }]);
});

test('an agent that can, and says things that this server does not know, is told the user', async () => {
  await using t = await setupGateway();
  const agent = await t.connectAgent({ capabilities: ['of_a_later_version', 'username_setting'] });
  await t.sql`update segments set settings = '{"username": "deploy"}' where id = ${t.segmentId}`;
  await t.start();
  expect((await agent.next('leases')).leases).toMatchObject([{ target: { username: 'deploy' } }]);
});

test('output is acknowledged when it is stored, the completion after it, with the next step in the answer', async () => {
  await using t = await leased({ steps: 2 });
  const frames = [chunk(t.lease, 1, 'one\n'), chunk(t.lease, 2, 'two\n')];
  for (const frame of frames) t.agentSocket.sendFrame(frame);
  t.agentSocket.send(completion(t.lease, frames));
  await t.agentSocket.acknowledged(2);
  const completed = await t.agentSocket.next('completed');
  expect(completed).toMatchObject({ requestId: 'request-1', result: 'settled', next: { epoch: 1 } });
  expect(await t.steps(t.runId)).toMatchObject([
    { status: 'succeeded', outputState: 'complete', outputBytes: 8 },
    { status: 'running' },
  ]);
  const next = completed.next;
  if (next === undefined) throw new Error('no next step');
  const one = chunk(next, 1, 'three\n');
  t.agentSocket.sendFrame(one);
  t.agentSocket.send(completion(next, [one], { requestId: 'request-2' }));
  expect(await t.agentSocket.next('completed')).toMatchObject({ result: 'settled' });
  expect(await t.run(t.runId)).toMatchObject({ status: 'succeeded', completedSteps: 2 });
});

test('a completion that claims more than is stored is asked for the rest', async () => {
  await using t = await leased();
  const frames = [chunk(t.lease, 1, 'one\n'), chunk(t.lease, 2, 'two\n'), chunk(t.lease, 3, 'three\n')];
  t.agentSocket.sendFrame(frames[0] as OutputFrame);
  t.agentSocket.send(completion(t.lease, frames));
  expect(await t.agentSocket.next('completed')).toMatchObject({ result: 'resend', fromSeq: 2 });
  for (const frame of frames.slice(1)) t.agentSocket.sendFrame(frame);
  t.agentSocket.send(completion(t.lease, frames, { requestId: 'request-2' }));
  expect(await t.agentSocket.next('completed')).toMatchObject({ requestId: 'request-2', result: 'settled' });
  expect(await t.steps(t.runId)).toMatchObject([
    { status: 'succeeded', outputState: 'complete', outputBytes: 14 },
  ]);
});

test('output whose digest differs is asked for once more, and then said to have a gap', async () => {
  await using t = await leased();
  const frame = chunk(t.lease, 1, 'one\n');
  t.agentSocket.sendFrame(frame);
  const output = { ...claim([frame]), digest: chainOf([]), truncated: false, gaps: [] as [number, number][] };
  t.agentSocket.send(completion(t.lease, [frame], { output }));
  expect(await t.agentSocket.next('completed')).toMatchObject({ result: 'resend', fromSeq: 1 });
  t.agentSocket.sendFrame(frame);
  t.agentSocket.send(completion(t.lease, [frame], { output, requestId: 'request-2' }));
  expect(await t.agentSocket.next('completed')).toMatchObject({ result: 'settled' });
  expect(await t.steps(t.runId)).toMatchObject([
    { status: 'succeeded', outputState: 'gapped', outputBytes: 4 },
  ]);
});

test('output that was cut, or lost with a disk, is marked so', async () => {
  await using t = await leased({ steps: 2 });
  const frame = chunk(t.lease, 1, 'one\n');
  t.agentSocket.sendFrame(frame);
  const output = { ...claim([frame]), truncated: true, gaps: [] as [number, number][] };
  t.agentSocket.send(completion(t.lease, [frame], { output }));
  const { next } = await t.agentSocket.next('completed');
  if (next === undefined) throw new Error('no next step');
  const lost = { ...claim([]), lastSeq: 4, truncated: false, gaps: [[1, 4]] as [number, number][] };
  t.agentSocket.send(completion(next, [], { output: lost, requestId: 'request-2' }));
  expect(await t.agentSocket.next('completed')).toMatchObject({ result: 'settled' });
  expect((await t.steps(t.runId)).map((step) => step.outputState)).toEqual(['truncated', 'gapped']);
  expect(await t.run(t.runId)).toMatchObject({ outputState: 'gapped' });
});

test('output with a hole in it is not taken, and the connection is begun anew', async () => {
  await using t = await leased();
  t.agentSocket.sendFrame(chunk(t.lease, 2, 'two\n'));
  expect(await t.agentSocket.closed).toBe(closeCodes.serverRestart);
  const again = await t.connectAgent({
    attempts: [
      { step: t.lease.step, epoch: 1, leaseToken: t.lease.leaseToken, state: 'running', lastSeq: 2 },
    ],
  });
  expect(again.resumed.attempts).toEqual([
    { step: t.lease.step, epoch: 1, verdict: 'continue', ackedSeq: 0 },
  ]);
});

test('after a resume output goes on where it was, and its digest is that of the whole', async () => {
  await using t = await leased();
  const frames = [chunk(t.lease, 1, 'one\n'), chunk(t.lease, 2, 'two\n')];
  t.agentSocket.sendFrame(frames[0] as OutputFrame);
  await t.agentSocket.acknowledged(1);
  t.agentSocket.terminate();
  const { step, leaseToken } = t.lease;
  const again = await t.connectAgent({
    attempts: [{ step, epoch: 1, leaseToken, state: 'running', lastSeq: 2 }],
  });
  expect(again.resumed.attempts).toMatchObject([{ verdict: 'continue', ackedSeq: 1 }]);
  again.sendFrame(frames[1] as OutputFrame);
  again.send(completion(t.lease, frames));
  expect(await again.next('completed')).toMatchObject({ result: 'settled' });
  expect(await t.steps(t.runId)).toMatchObject([{ outputState: 'complete', outputBytes: 8 }]);
});

test('of a step that goes on is told at the resume, where the server that had leased it was killed before it told', async () => {
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

test('what an agent was delivered and does not list goes back when it connects again, which it has to after three heartbeats', async () => {
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

test('an agent that stops in order leaves nothing unknown: what runs ends, what has not begun is another’s', async () => {
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

test('a cancel reaches the agent that runs the step', async () => {
  await using t = await leased();
  t.gateway.publish(await cancelRun(t.sql, t.runId, t.caller));
  expect(await t.agentSocket.next('cancel')).toMatchObject({ step: t.lease.step, epoch: 1 });
});

test('an agent that goes on with what was given up is told again to stop it', async () => {
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

test('before it was told what became of its attempts an agent is told of no cancel', async () => {
  await using t = await leased();
  const again = t.dial();
  again.send(await t.proof(await again.next('challenge')));
  const { generation } = await again.next('welcome');
  t.gateway.publish(await cancelRun(t.sql, t.runId, t.caller));
  // By then it has been looked up what is to be stopped.
  for (let round = 0; round < 20; round += 1) await t.sql`select count(*) from job_run_steps`;
  expect(again.untaken).toEqual([]);
  const { step, epoch, leaseToken } = t.lease;
  const attempts = [{ step, epoch, leaseToken, state: 'running' as const, lastSeq: 0 }];
  again.send({ ...emptyResume, generation, attempts });
  expect(await again.next('resumed')).toMatchObject({ attempts: [{ verdict: 'cancel' }] });
});

test('agents are told over which time to come back: longer the more of them there are', async () => {
  await using t = await setupGateway();
  const agent = await t.connectAgent();
  agent.send({ type: 'heartbeat', sequence: 1, held: [] });
  const { reconnectWithinMs } = await agent.next('heartbeat_ack');
  expect(reconnectWithinMs).toBe(limits.reconnectPerFirstAgentMs);
});

/** So many heartbeats in which the agent lists nothing. */
async function listNothing(agent: AgentSocket, times: number): Promise<void> {
  for (let sequence = 1; sequence <= times; sequence += 1) {
    agent.send({ type: 'heartbeat', sequence, held: [] });
    await agent.next('heartbeat_ack');
  }
}

test('a lease that its agent does not list may be on the way yet: the connection ends, and the resume tells', async () => {
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

test('what an agent says right behind three heartbeats from before the lease reached it is taken whole', async () => {
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

test('an agent that is silent for its lease time is disconnected', async () => {
  await using t = await setupGateway({ leaseTtlMs: 600 });
  const agent = await t.connectAgent();
  // Our end closes in order; a frozen agent could not even do that.
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

test('output of an attempt that the agent does not hold is passed over', async () => {
  await using t = await leased();
  t.agentSocket.sendFrame(chunk({ ...t.lease, step: 4711 }, 1, 'x'));
  t.agentSocket.sendFrame(chunk({ ...t.lease, epoch: 9 }, 1, 'x'));
  const frame = chunk(t.lease, 1, 'one\n');
  t.agentSocket.sendFrame(frame);
  t.agentSocket.send(completion(t.lease, [frame]));
  expect(await t.agentSocket.next('completed')).toMatchObject({ result: 'settled' });
});

test('a gateway that stops sends its agents elsewhere, and what they run goes on', async () => {
  await using t = await leased();
  await t.gateway.stop();
  expect(await t.agentSocket.closed).toBe(closeCodes.serverRestart);
  expect(await t.steps(t.runId)).toMatchObject([{ status: 'running', epoch: 1 }]);
});

test('a server that stops in order leaves nothing unknown: what was completed is settled, the rest goes on elsewhere', async () => {
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

test('a step whose target was deleted meanwhile ends failed and says so, others are leased', async () => {
  await using t = await setupGateway();
  const runId = await t.start({ targets: 2 });
  await t.sql`update targets set credential_id = null where name = 'host-1'`;
  const agent = await t.connectAgent();
  expect((await agent.next('leases')).leases).toMatchObject([{ target: { name: 'host-2' } }]);
  await expect.poll(async () => (await t.steps(runId))[0]?.status).toBe('failed');
  expect((await t.steps(runId))[0]).toMatchObject({
    reason: 'invalid_config',
    errorMessage: 'Target “host-1” has no credential any more.',
  });
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

test('steps for an agent whose connection was ended, and that does not answer that, go back at once', async () => {
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

test('leases that could not be put together go back, and are claimed again', async () => {
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

test('a step of which the job was altered in the database fails and says so, and the others are leased', async () => {
  let afresh: LeaseBuilder | undefined;
  await using t = await setupGateway({}, (builder) => ({
    build: (steps) => (afresh ?? builder).build(steps),
  }));
  const bad = await t.start();
  const good = await t.start();
  await t.sql`
    update jobs set data_key = 'altered' where id = (select job_id from job_runs where id = ${bad})`;
  // As of a server that has just been started: it has opened nothing before.
  afresh = new LeaseBuilder({ sql: t.sql, masterKey: { ...t.masterKey } });
  const agent = await t.connectAgent();
  expect((await agent.next('leases')).leases).toMatchObject([{ runId: good }]);
  await expect.poll(() => t.steps(bad)).toMatchObject([{ status: 'failed', reason: 'invalid_config' }]);
});

test('a run under a master key that this server does not hold is left to others for a while, and the others are leased', async () => {
  let afresh: LeaseBuilder | undefined;
  await using t = await setupGateway({}, (builder) => ({
    build: (steps) => (afresh ?? builder).build(steps),
  }));
  const bad = await t.start();
  const good = await t.start();
  await t.sql`
    update jobs set data_key = overlay(data_key placing 'xx' from 5 for 2)
    where id = (select job_id from job_runs where id = ${bad})`;
  afresh = new LeaseBuilder({ sql: t.sql, masterKey: { ...t.masterKey } });
  const agent = await t.connectAgent();
  expect((await agent.next('leases')).leases).toMatchObject([{ runId: good }]);
  await expect
    .poll(
      () => t.sql`
      select status, not_before > clock_timestamp() as waits from job_run_steps where job_run_id = ${bad}`,
    )
    .toEqual([{ status: 'ready', waits: true }]);
});

test('what a run with an altered key prints and hands on is not kept, which keeps nothing else of its agent up', async () => {
  await using t = await setupGateway();
  const agent = await t.connectAgent({ capabilities: [...agentCapabilities] });
  const bad = await t.start({ rules: [{ outputs: { id: { pattern: '(.*)' } } }] });
  const good = await t.start();
  const leases: Lease[] = [];
  while (leases.length < 2) leases.push(...(await agent.next('leases')).leases);
  const [ofBad, ofGood] = [bad, good].map((id) => leases.find(({ runId }) => runId === id));
  if (ofBad === undefined || ofGood === undefined) throw new Error('not leased');
  await t.sql`update job_runs set data_key = left(data_key, -4) || 'AAAA' where id = ${bad}`;
  const [lost, kept] = [chunk(ofBad, 1, 'one\n'), chunk(ofGood, 1, 'one\n')];
  agent.sendFrame(lost);
  agent.sendFrame(kept);
  agent.send(completion(ofGood, [kept]));
  expect(await agent.next('completed')).toMatchObject({ step: ofGood.step, result: 'settled' });
  // It is asked for all of it in vain.
  const handsOn = { id: { value: 'deploy' } };
  let result = 'resend';
  for (let tries = 1; result === 'resend' && tries <= 5; tries += 1) {
    if (tries > 1) agent.sendFrame(lost);
    agent.send(completion(ofBad, [lost], { requestId: `request-${tries + 1}`, handsOn }));
    result = (await agent.next('completed')).result;
  }
  expect(result).toBe('settled');
  expect(await t.steps(good)).toMatchObject([{ status: 'succeeded', outputState: 'complete' }]);
  const [step] = await t.steps(bad);
  expect(step).toMatchObject({ status: 'failed', reason: 'output_missing', outputState: 'gapped' });
  expect(step?.errorMessage).toBe(
    'What the step hands on is not kept. Its run or job can’t be read: what the database has of it was altered or moved.',
  );
});

test('a step that was begun is not ready again, however soon after that it is handed back', async () => {
  await using t = await leased();
  const { step, epoch, leaseToken } = t.lease;
  t.agentSocket.send({ type: 'started', step, epoch, leaseToken });
  t.agentSocket.send({ type: 'return', reason: 'lease_expired', attempts: [{ step, epoch, leaseToken }] });
  await expect.poll(async () => (await t.steps(t.runId))[0]).toMatchObject({ status: 'unknown', epoch: 1 });
});

test('a slot that is free again is filled with what waited for it', async () => {
  // At once, not when somebody looks next.
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
  // One that had sent it before the verdict came is answered as before.
  again.send(completion(t.lease, []));
  expect(await again.next('completed')).toMatchObject({ requestId: 'request-1', result: 'settled' });
});

test('what agents were to hear of their segment while the bus was lost they hear when it is back', async () => {
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
