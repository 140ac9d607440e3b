// Agents that are drained, disabled or revoked while they are connected, and what their connections leave behind.
import { closeCodes, type Lease } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { disableAgent, enableAgent } from '../../segments/agents/disable-agent.ts';
import { drainAgent, undrainAgent } from '../../segments/agents/drain-agent.ts';
import { getAgent } from '../../segments/agents/list-agents.ts';
import { revokeAgent } from '../../segments/agents/revoke-agent.ts';
import { generationOffer } from '../../segments/testing.ts';
import { unrestricted } from '../../store/people/visibility.ts';
import { overdueAttempts } from '../../store/queue/sweep/sweep.ts';
import { type AgentSocket, chainOf, setupGateway, type TestGateway } from '../testing.ts';

const patient = { timeout: 10_000 };
const depsOf = (t: TestGateway) => ({ ...t, installationId: t.identity.installationId });
const agentOf = (t: TestGateway) => getAgent(t.sql, t.agent.agentId, unrestricted);

async function connected(claimPollMs?: number) {
  const t = await setupGateway({}, undefined, claimPollMs === undefined ? {} : { claimPollMs });
  return Object.assign(t, { socket: await t.connectAgent() });
}

/** After `hold`, shuts the agent out while a step is being leased to it, and before it hears of that lease. */
async function connectedUntilLeased(shutOutMeanwhile: (t: TestGateway) => Promise<unknown>) {
  const held: { whileBuilding?: () => Promise<unknown> } = {};
  const t = await setupGateway({}, (builder) => ({
    async build(steps) {
      const work = held.whileBuilding;
      delete held.whileBuilding;
      await work?.();
      return builder.build(steps);
    },
  }));
  const socket = await t.connectAgent();
  const hold = (then: () => Promise<unknown> = () => Promise.resolve()) => {
    held.whileBuilding = async () => {
      await shutOutMeanwhile(t);
      expect(await socket.next('drain')).toMatchObject({ handBack: true });
      await then();
    };
  };
  return Object.assign(t, { socket, hold });
}

async function leasedOf(socket: AgentSocket, count: number): Promise<Lease[]> {
  const leases: Lease[] = [];
  while (leases.length < count) leases.push(...(await socket.next('leases')).leases);
  return leases;
}

function complete(socket: AgentSocket, { step, epoch, leaseToken }: Lease): void {
  socket.send({
    type: 'complete',
    requestId: 'r1',
    ...{ step, epoch, leaseToken },
    outcome: { status: 'succeeded', exitCode: 0 },
    output: { lastSeq: 0, rawBytes: 0, digest: chainOf([]), truncated: false, gaps: [] },
    wantsNext: true,
  });
}

function handBack(socket: AgentSocket, leases: readonly Lease[]): void {
  const attempts = leases.map(({ step, epoch, leaseToken }) => ({ step, epoch, leaseToken }));
  socket.send({ type: 'return', attempts, reason: 'draining' });
  socket.send({ type: 'agent_drain' });
}

async function refusedCode(t: TestGateway): Promise<number> {
  const socket = t.dial();
  socket.send(await t.proof(await socket.next('challenge')));
  return socket.closed;
}

test('a drained agent keeps what it has and is given nothing more until it is undrained', async () => {
  await using t = await connected(3_600_000);
  const runId = await t.start({ steps: 2 });
  const [lease] = await leasedOf(t.socket, 1);
  if (lease === undefined) throw new Error('no lease');
  await drainAgent(t.sql, t.agent.agentId, t.caller);
  expect((await agentOf(t)).state).toBe('draining');
  complete(t.socket, lease);
  expect(await t.socket.next('completed')).not.toHaveProperty('next');
  expect(await t.steps(runId)).toMatchObject([{ status: 'succeeded' }, { status: 'ready' }]);
  // A new session is drained as well.
  const again = await t.connectAgent();
  expect((await agentOf(t)).state).toBe('draining');
  await undrainAgent(t.sql, t.agent.agentId, t.caller);
  expect(await leasedOf(again, 1)).toMatchObject([{ runId }]);
});

test('a disabled agent hands back what it has not begun, is cut off, and comes back when it is enabled', async () => {
  await using t = await connected();
  const runId = await t.start({ targets: 2 });
  const [begun, unbegun] = await leasedOf(t.socket, 2);
  if (begun === undefined || unbegun === undefined) throw new Error('no leases');
  const { step, epoch, leaseToken } = begun;
  t.socket.send({ type: 'started', step, epoch, leaseToken });
  await disableAgent(t, t.agent.agentId, t.caller);
  expect(await t.socket.next('drain')).toMatchObject({ handBack: true });
  handBack(t.socket, [unbegun]);
  expect(await t.socket.closed).toBe(closeCodes.unauthenticated);
  const statusOf = async (id: number) => (await t.steps(runId)).find((row) => row.id === id)?.status;
  expect([await statusOf(begun.step), await statusOf(unbegun.step)]).toEqual(['running', 'ready']);
  await expect
    .poll(async () => (await agentOf(t)).lastClose)
    .toMatchObject({ code: closeCodes.unauthenticated, reason: 'agent is disabled', address: '127.0.0.1' });

  expect(await refusedCode(t)).toBe(closeCodes.unauthenticated);
  await enableAgent(depsOf(t), t.agent.agentId, t.caller);
  const attempts = [{ step, epoch, leaseToken, state: 'running' as const, lastSeq: 0 }];
  const back = await t.connectAgent({ attempts });
  expect(back.resumed.attempts).toMatchObject([{ step, verdict: 'continue' }]);
  expect(await leasedOf(back, 1)).toMatchObject([{ step: unbegun.step, epoch: 2 }]);
});

test.each([
  ['disabled', (t: TestGateway) => disableAgent(t, t.agent.agentId, t.caller)],
  ['revoked', (t: TestGateway) => revokeAgent(depsOf(t), t.agent.agentId, t.caller)],
])(
  'steps about to be leased to an agent when it is %s go back, and it never hears of them',
  async (_, out) => {
    await using t = await connectedUntilLeased(out);
    t.hold();
    const runId = await t.start();
    await expect.poll(() => t.steps(runId), patient).toMatchObject([{ status: 'ready', epoch: 1 }]);
    t.socket.send({ type: 'agent_drain' });
    expect(await t.socket.closed).toBe(closeCodes.unauthenticated);
    expect(t.socket.untaken).not.toContain('leases');
  },
);

test('a revoked agent that answers before its lease is built is not taken to have begun it', async () => {
  await using t = await connectedUntilLeased((t) => revokeAgent(depsOf(t), t.agent.agentId, t.caller));
  let overdue: unknown;
  t.hold(async () => {
    t.socket.send({ type: 'agent_drain' });
    await t.socket.closed;
    const session = () => t.sql`
      select from agent_sessions where agent_id = ${t.agent.agentId} and disconnected_at is not null`;
    await expect.poll(session, patient).toHaveLength(1);
    overdue = await overdueAttempts(t.sql, 30);
  });
  const runId = await t.start();
  await expect.poll(() => t.steps(runId), patient).toMatchObject([{ status: 'ready', epoch: 1 }]);
  expect(overdue).toEqual([]);
});

test('the step after one that an agent completes while it is shut out goes back, too', async () => {
  await using t = await connectedUntilLeased((t) => disableAgent(t, t.agent.agentId, t.caller));
  const runId = await t.start({ steps: 2 });
  const [lease] = await leasedOf(t.socket, 1);
  if (lease === undefined) throw new Error('no lease');
  t.hold();
  complete(t.socket, lease);
  expect(await t.socket.next('completed')).not.toHaveProperty('next');
  expect(await t.steps(runId)).toMatchObject([{ status: 'succeeded' }, { status: 'ready', epoch: 1 }]);
});

test('an agent that does not know the request is cut off all the same, and what it had is not run again', async () => {
  await using t = await connected();
  const runId = await t.start();
  await leasedOf(t.socket, 1);
  await disableAgent(t, t.agent.agentId, t.caller);
  expect(await t.socket.closed).toBe(closeCodes.unauthenticated);
  expect(await t.steps(runId)).toMatchObject([{ status: 'running', epoch: 1 }]);
});

test('an agent that was shut out without this server hearing of it is cut off at its next heartbeat', async () => {
  await using t = await connected();
  await t.sql`update agents set state = 'disabled' where id = ${t.agent.agentId}`;
  t.socket.send({ type: 'heartbeat', sequence: 1, held: [] });
  expect(await t.socket.next('drain')).toMatchObject({ reason: 'agent is disabled' });
  t.socket.send({ type: 'agent_drain' });
  expect(await t.socket.closed).toBe(closeCodes.unauthenticated);
});

test('steps that a revoked agent had begun are given up as soon as it is gone, not after unknown_after', async () => {
  await using t = await connected();
  await t.start();
  const [lease] = await leasedOf(t.socket, 1);
  if (lease === undefined) throw new Error('no lease');
  t.socket.send({ type: 'started', step: lease.step, epoch: lease.epoch, leaseToken: lease.leaseToken });
  await revokeAgent(depsOf(t), t.agent.agentId, t.caller);
  await t.socket.next('drain');
  expect(await overdueAttempts(t.sql, 30)).toEqual([]);
  t.socket.send({ type: 'agent_drain' });
  expect(await t.socket.closed).toBe(closeCodes.unauthenticated);
  await expect
    .poll(() => overdueAttempts(t.sql, 30))
    .toMatchObject([{ stepId: lease.step, cause: 'revoked' }]);
  expect(await refusedCode(t)).toBe(closeCodes.unauthenticated);
});

test('what a revoked agent reports before its connection ends counts, it is given nothing more, and nothing counts after that', async () => {
  await using t = await connected();
  const runId = await t.start({ targets: 2, steps: 2 });
  const [first, second] = await leasedOf(t.socket, 2);
  if (first === undefined || second === undefined) throw new Error('no leases');
  for (const { step, epoch, leaseToken } of [first, second])
    t.socket.send({ type: 'started', step, epoch, leaseToken });
  await revokeAgent(depsOf(t), t.agent.agentId, t.caller);
  await t.socket.next('drain');
  complete(t.socket, first);
  expect(await t.socket.next('completed')).not.toHaveProperty('next');
  // It does not answer the request to hand back.
  expect(await t.socket.closed).toBe(closeCodes.unauthenticated);
  await expect
    .poll(() => overdueAttempts(t.sql, 30), patient)
    .toMatchObject([{ stepId: second.step, cause: 'revoked' }]);
  expect(await refusedCode(t)).toBe(closeCodes.unauthenticated);
  const statuses = (await t.steps(runId)).map(({ status }) => status);
  expect(statuses.toSorted()).toEqual(['pending', 'ready', 'running', 'succeeded']);
  expect(t.socket.untaken).not.toContain('leases');
});

test('after a revocation, a connected agent is asked for the next generation, and its peers hear of it', async () => {
  await using t = await connected();
  const gone = await t.addAgent('agent-gone');
  await t.socket.next('segment_state');
  await revokeAgent(depsOf(t), gone.agentId, t.caller);
  let state = await t.socket.next('segment_state');
  while (state.makeGeneration === undefined) state = await t.socket.next('segment_state');
  expect(state.makeGeneration).toBe(2);
  const enrolled = { agentId: t.agent.agentId, segmentId: t.segmentId } as never;
  const offer = await generationOffer(depsOf(t), { enrolled, keys: t.agentKeys }, 2);
  t.socket.send({ type: 'segment_key_made', ...offer });
  while (!state.wraps.some(({ generation }) => generation === 2))
    state = await t.socket.next('segment_state');
  expect(JSON.parse(state.roster.payload)).toMatchObject({ currentGeneration: 2 });
  expect(state).not.toHaveProperty('makeGeneration');
});

test('a step whose credential no agent can open any more fails and says so, instead of coming back forever', async () => {
  await using t = await connected();
  const runId = await t.start();
  const [lease] = await leasedOf(t.socket, 1);
  if (lease === undefined) throw new Error('no lease');
  await t.sql`delete from segment_key_wraps`;
  const { step, epoch, leaseToken } = lease;
  t.socket.send({ type: 'return', attempts: [{ step, epoch, leaseToken }], reason: 'no_key' });
  await expect
    .poll(() => t.steps(runId))
    .toMatchObject([{ status: 'failed', reason: 'credential_unusable' }]);
});

test('what an agent says about itself is reduced to one line of visible text', async () => {
  await using t = await setupGateway();
  await t.connectAgent({
    agentVersion: '0.1.0\u001b[31m',
    platform: '\u009b2J\n',
    hostname: 'web\u0000\u202e01\ud800',
    journalIntact: false,
    journalLoss: 'lost\u0000',
  });
  expect(await agentOf(t)).toMatchObject({ version: '0.1.0[31m', platform: '2J', hostname: 'web01\ufffd' });
});
