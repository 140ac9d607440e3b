// Steps that are leased to a connected agent ahead of their turn.
import { type Lease, limits, type StepOutcome } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { setupGateway } from '../testing.ts';
import { completion } from './leased-testing.ts';

const capable = ['leases_ahead'] as const;
const short: StepOutcome = { status: 'succeeded', exitCode: 0, executionTimeMs: 3 };

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
