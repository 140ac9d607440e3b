// Steps that are leased to a connected agent ahead of their turn.
import { type Lease, limits, type StepDefinition, type StepOutcome } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { createLog } from '../../log.ts';
import { decideHeld } from '../../runs/ends/decide-held.ts';
import { Sweeper } from '../../runs/ends/sweeper.ts';
import { blockedBackends, holdTransaction, testServerId } from '../../runs/testing.ts';
import type { Tx } from '../../store/database/connection.ts';
import { setupGateway } from '../testing.ts';
import { completion } from './leased-testing.ts';

const capable = ['leases_ahead'] as const;
const short: StepOutcome = { status: 'succeeded', exitCode: 0, executionTimeMs: 3 };
const failed: StepOutcome = { status: 'failed', exitCode: 1, reason: 'exit_code' };

/** An agent that has the first of `steps` steps. */
async function leased(steps: number, capabilities: readonly string[] = capable) {
  const t = await setupGateway();
  const agent = await t.connectAgent({ capabilities: [...capabilities] });
  const runId = await t.start({ steps });
  const [first] = (await agent.next('leases')).leases;
  if (first === undefined) throw new Error('no lease');
  const complete = (lease: Lease, outcome: StepOutcome = short) =>
    agent.send(completion(lease, [], { requestId: `request-${lease.step}`, outcome }));
  const statuses = async () => (await t.steps(runId)).map(({ status }) => status);
  return Object.assign(t, { agentSocket: agent, runId, first, complete, statuses });
}

test('an agent that ends a short step gets the next one, and those that may follow it', async () => {
  await using t = await leased(limits.maxStepsAhead + 4);
  t.complete(t.first);
  const { next } = await t.agentSocket.next('completed');
  const { leases } = await t.agentSocket.next('leases');
  expect(leases).toHaveLength(limits.maxStepsAhead - 1);
  expect(next).not.toHaveProperty('after');
  const all = [next, ...leases];
  for (const [at, lease] of leases.entries())
    expect(lease.after).toEqual({ step: all[at]?.step, epoch: all[at]?.epoch });
  expect(await t.statuses()).toEqual([
    'succeeded',
    ...Array.from({ length: limits.maxStepsAhead }, () => 'running'),
    ...['pending', 'pending', 'pending'],
  ]);
});

test('ends that arrive together are settled together, and all steps of the run are begun in order', async () => {
  await using t = await leased(5);
  t.complete(t.first);
  const { next } = await t.agentSocket.next('completed');
  const { leases } = await t.agentSocket.next('leases');
  for (const lease of [next, ...leases]) if (lease !== undefined) t.complete(lease);
  for (const lease of [next, ...leases])
    expect(await t.agentSocket.next('completed')).toMatchObject({ step: lease?.step, result: 'settled' });
  expect((await t.run(t.runId)).status).toBe('succeeded');
});

test('the end of a step that arrives before that of the one before it waits for it', async () => {
  await using t = await leased(4);
  t.complete(t.first);
  const { next } = await t.agentSocket.next('completed');
  const [third] = (await t.agentSocket.next('leases')).leases;
  if (next === undefined || third === undefined) throw new Error('no leases');
  t.complete(third);
  t.complete(next);
  expect(await t.agentSocket.next('completed')).toMatchObject({ step: next.step, result: 'settled' });
  expect(await t.agentSocket.next('completed')).toMatchObject({ step: third.step, result: 'settled' });
});

test.each<[string, readonly string[], StepOutcome]>([
  ['does not know of it', [], short],
  ['took long for the step', capable, { ...short, executionTimeMs: 4_000 }],
  ['does not say how long the step took', capable, { status: 'succeeded', exitCode: 0 }],
])('an agent that %s gets one step at a time', async (_, capabilities, outcome) => {
  await using t = await leased(6, capabilities);
  t.complete(t.first, outcome);
  expect((await t.agentSocket.next('completed')).next).toBeDefined();
  expect((await t.statuses()).filter((status) => status === 'running')).toHaveLength(1);
});

test('a target run keeps one slot while steps of it are leased ahead, and frees it at its end', async () => {
  await using t = await leased(4);
  await t.sql`update agent_sessions set slots = 1`;
  t.complete(t.first);
  const { next } = await t.agentSocket.next('completed');
  const { leases } = await t.agentSocket.next('leases');
  const other = await t.start();
  for (const lease of [next, ...leases]) if (lease !== undefined) t.complete(lease);
  const [later] = (await t.agentSocket.next('leases')).leases;
  expect(later?.runId).toBe(other);
  expect((await t.run(t.runId)).status).toBe('succeeded');
});

test('what an agent hands back before its turn is leased to it again when its turn has come', async () => {
  await using t = await leased(4);
  t.complete(t.first);
  const { next } = await t.agentSocket.next('completed');
  const { leases } = await t.agentSocket.next('leases');
  const attempts = leases.map(({ step, epoch, leaseToken }) => ({ step, epoch, leaseToken }));
  t.agentSocket.send({ type: 'return', attempts, reason: 'lease_expired' });
  await expect.poll(t.statuses).toEqual(['succeeded', 'running', 'pending', 'pending']);
  if (next === undefined) throw new Error('no lease');
  t.complete(next);
  expect((await t.agentSocket.next('completed')).next).toMatchObject({ step: leases[0]?.step, epoch: 2 });
});

test('of steps that are not quite short, only as many are leased ahead as begin before they are handed back', async () => {
  await using t = await leased(12);
  // Seven of them would take longer than an agent keeps what it was leased ahead.
  t.complete(t.first, { ...short, executionTimeMs: 200 });
  await t.agentSocket.next('completed');
  const { leases } = await t.agentSocket.next('leases');
  expect(200 * (leases.length + 1)).toBeLessThan(1_000);
});

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
