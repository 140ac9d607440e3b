// Steps that were leased ahead of their turn: when they begin, and when they go back.
import { type Lease, limits, type ServerMessageOf, type StepOutcome } from '@opsconductor/protocol';
import { Type } from 'typebox';
import { expect, test } from 'vitest';
import { type AgentSetup, lease, rendering, setup, success } from '../testing/agent-setup.ts';
import type { FakeConnection } from '../testing/fake-server.ts';
import { knownStepType } from './step/known-step-types.ts';

const failed: StepOutcome = { status: 'failed', exitCode: 1, reason: 'exit_code' };

/** A lease of a step that follows the one before it. */
function ahead(step: number, after = step - 1): Lease {
  return lease(step, { after: { step: after, epoch: 1 }, config: { name: `step ${step}` } });
}

/** Step 1 runs, and steps 2 and 3 were leased ahead of their turn. */
async function connected(t: AgentSetup, options: Parameters<AgentSetup['start']>[0] = {}) {
  const agent = await t.start(options);
  const { connection } = await t.server.nextSession();
  connection.send({ type: 'leases', leases: [lease(1), ahead(2), ahead(3)] });
  const first = await t.nextStep();
  await first.context.beforeStart();
  return { agent, connection, first };
}

const steps = (attempts: readonly { step: number }[]) => attempts.map(({ step }) => step);

async function answer(connection: FakeConnection, more: Partial<ServerMessageOf<'completed'>> = {}) {
  const { requestId, step, epoch } = await connection.next('complete');
  connection.send({ type: 'completed', requestId, step, epoch, result: 'settled', ...more });
  return step;
}

test('a step that was leased ahead begins when the one before it has succeeded, without asking the server', async () => {
  await using t = await setup();
  // One slot is enough: it takes the slot of the step before.
  const { connection, first } = await connected(t, { slots: 1 });
  first.end(success);
  const second = await t.nextStep();
  expect(second.config).toEqual({ name: 'step 2' });
  await second.context.beforeStart();
  second.end({ status: 'skipped' });
  // What follows a step that was skipped by its condition begins, too.
  expect((await t.nextStep()).config).toEqual({ name: 'step 3' });
  expect([await answer(connection), await answer(connection)]).toEqual([1, 2]);
});

test('a step knows which attempts are to follow it, in their order', async () => {
  await using t = await setup();
  const { first, connection } = await connected(t);
  expect(first.context.followedBy?.(1)).toEqual([expect.stringMatching(/\.2\.1$/)]);
  const inOrder = [expect.stringMatching(/\.2\.1$/), expect.stringMatching(/\.3\.1$/)];
  expect(first.context.followedBy?.(9)).toEqual(inOrder);
  first.end(success);
  const second = await t.nextStep();
  second.end(success);
  const third = await t.nextStep();
  expect(third.context.followedBy?.(1)).toEqual([]);
  connection.send({ type: 'leases', leases: [ahead(4)] });
  await expect.poll(() => third.context.followedBy?.(1)).toEqual([expect.stringMatching(/\.4\.1$/)]);
});

test('a step that fails sends back everything that was to follow it, and nothing of that begins', async () => {
  await using t = await setup();
  const { connection, first } = await connected(t);
  first.end(failed);
  const returned = await connection.next('return');
  expect(steps(returned.attempts)).toEqual([2, 3]);
  expect(await connection.next('complete')).toMatchObject({ step: 1, outcome: failed });
  connection.send({ type: 'leases', leases: [lease(9, { config: { name: 'another' } })] });
  expect((await t.nextStep()).config).toEqual({ name: 'another' });
});

test('a step that waits too long for its turn goes back with those that follow it', async () => {
  await using t = await setup();
  const { connection, first } = await connected(t, { stepsAheadMs: 50 });
  const returned = await connection.next('return');
  expect(steps(returned.attempts)).toEqual([2, 3]);
  first.end(success);
  expect(await answer(connection)).toBe(1);
  expect(connection.order.filter((type) => type === 'return')).toHaveLength(1);
});

test('a step whose predecessor is not here is not kept', async () => {
  await using t = await setup();
  const { connection, first } = await connected(t);
  connection.send({ type: 'leases', leases: [ahead(8, 7)] });
  expect(steps((await connection.next('return')).attempts)).toEqual([8]);
  first.end(failed);
  await connection.next('return');
  await connection.next('complete');
  // Its predecessor has failed, and its end is not confirmed yet.
  connection.send({ type: 'leases', leases: [{ ...ahead(2), epoch: 2, leaseToken: 'n'.repeat(32) }] });
  expect(steps((await connection.next('return')).attempts)).toEqual([2]);
});

test('a step that is leased ahead of one that has just succeeded begins at once', async () => {
  await using t = await setup();
  const { connection, first } = await connected(t);
  first.end(success);
  for (const _ of [2, 3]) (await t.nextStep()).end(success);
  await connection.next('complete');
  connection.send({ type: 'leases', leases: [ahead(4)] });
  expect((await t.nextStep()).config).toEqual({ name: 'step 4' });
});

test('a draining agent hands back what was leased ahead, and finishes what it has begun', async () => {
  await using t = await setup();
  const { agent, connection, first } = await connected(t);
  const drained = agent.drain();
  expect(steps((await connection.next('return')).attempts)).toEqual([2, 3]);
  first.end(success);
  expect(await answer(connection)).toBe(1);
  await drained;
});

test('a cancelled step takes those that were to follow it with it', async () => {
  await using t = await setup();
  const { connection, first } = await connected(t);
  for (const step of [1, 2, 3]) connection.send({ type: 'cancel', step, epoch: 1 });
  await expect.poll(() => first.context.signal.aborted).toBe(true);
  first.end({ status: 'cancelled', reason: 'cancelled' });
  expect(steps((await connection.next('return')).attempts)).toEqual([2, 3]);
  expect(await connection.next('complete')).toMatchObject({ step: 1, outcome: { status: 'cancelled' } });
});

test('a cancel that comes when the step before has succeeded ends the one that follows before it begins', async () => {
  await using t = await setup();
  const { connection, first } = await connected(t);
  connection.send({ type: 'cancel', step: 2, epoch: 1 });
  connection.send({ type: 'leases', leases: [lease(9)] });
  // The cancel came before it.
  await t.nextStep();
  first.end(success);
  expect(await answer(connection)).toBe(1);
  const second = await connection.next('complete');
  expect(second).toMatchObject({ step: 2, outcome: { status: 'cancelled' } });
  expect(steps((await connection.next('return')).attempts)).toEqual([3]);
});

test('after its connection was lost, an agent goes on with what it was leased ahead, and presents it', async () => {
  await using t = await setup();
  const { connection, first } = await connected(t);
  first.end(success);
  const second = await t.nextStep();
  await second.context.beforeStart();
  connection.close(1012);
  const { connection: again, resume } = await t.server.nextSession();
  expect(Object.fromEntries(resume.attempts.map(({ step, state }) => [step, state]))).toEqual({
    1: 'finished',
    2: 'running',
    3: 'leased',
  });
  second.end(success);
  expect((await t.nextStep()).config).toEqual({ name: 'step 3' });
  expect(await answer(again)).toBe(1);
});

test('what a killed agent had only been leased ahead is not presented by the next one', async () => {
  await using t = await setup();
  const { agent, first } = await connected(t);
  expect(first.context.followedBy?.(1)).toHaveLength(1);
  await agent.stop();
  await t.start();
  const { resume } = await t.server.nextSession();
  expect(resume).toMatchObject({ journalIntact: true, attempts: [{ step: 1 }] });
  expect(resume.attempts).toHaveLength(1);
});

test('what the server has given up is not begun when its turn comes', async () => {
  await using t = await setup();
  const { connection, first } = await connected(t);
  connection.close(1012);
  const { connection: again } = await t.server.nextSession({
    verdict: ({ step, epoch }) => ({ step, epoch, verdict: 'superseded', ackedSeq: 0 }),
  });
  again.send({ type: 'leases', leases: [lease(9)] });
  // The verdicts came before it.
  await t.nextStep();
  first.end(success);
  expect(await again.next('complete')).toMatchObject({ step: 1 });
  again.send({ type: 'leases', leases: [lease(10, { config: { name: 'another' } })] });
  expect((await t.nextStep()).config).toEqual({ name: 'another' });
});

test('no shell is prepared for a step of another type', async () => {
  await using t = await setup();
  await t.start();
  const { connection } = await t.server.nextSession();
  connection.send({ type: 'leases', leases: [lease(1), { ...ahead(2), stepType: 'sftp.put' }] });
  const first = await t.nextStep();
  await first.context.beforeStart();
  expect(first.context.followedBy?.(1)).toEqual([]);
});

test('what was prepared for a step that goes back is dropped', async () => {
  await using t = await setup();
  const forgone: string[] = [];
  const execute = () => new Promise<StepOutcome>(() => undefined);
  const kind = knownStepType(
    { type: 'test.step', execute, forgo: (marker) => forgone.push(marker) },
    Type.Any(),
  );
  await t.start({ stepsAheadMs: 50, stepTypes: new Map([['test.step', kind]]) });
  const { connection } = await t.server.nextSession();
  connection.send({ type: 'leases', leases: [lease(1), ahead(2), ahead(3)] });
  await connection.next('return');
  expect(forgone).toEqual([expect.stringMatching(/\.2\.1$/), expect.stringMatching(/\.3\.1$/)]);
});

test('so is what was prepared for a step that is skipped', async () => {
  await using t = await setup();
  const forgone: string[] = [];
  const kind = knownStepType(
    { type: 'test.step', execute: async () => success, forgo: (marker) => forgone.push(marker) },
    Type.Any(),
  );
  await t.start({ stepTypes: new Map([['test.step', kind]]) });
  const { connection } = await t.server.nextSession();
  const skipped = { ...ahead(2), rendering: rendering({ when: 'false' }) };
  connection.send({ type: 'leases', leases: [lease(1), skipped, ahead(3)] });
  expect([await answer(connection), await answer(connection), await answer(connection)]).toEqual([1, 2, 3]);
  expect(forgone).toContainEqual(expect.stringMatching(/\.2\.1$/));
});

test('a step that is leased ahead too late for the slot of the one before waits for a slot', async () => {
  await using t = await setup();
  await t.start({ slots: 1 });
  const { connection } = await t.server.nextSession();
  connection.send({ type: 'leases', leases: [lease(1), lease(9, { config: { name: 'another' } })] });
  const first = await t.nextStep();
  await first.context.beforeStart();
  first.end(success);
  const another = await t.nextStep();
  await another.context.beforeStart();
  connection.send({ type: 'leases', leases: [ahead(2)] });
  connection.send({ type: 'cancel', step: 9, epoch: 1 });
  await expect.poll(() => another.context.signal.aborted).toBe(true);
  let hasBegun = false;
  const second = t.nextStep().then((step) => {
    hasBegun = true;
    return step;
  });
  await new Promise(setImmediate);
  expect(hasBegun).toBe(false);
  another.end({ status: 'cancelled', reason: 'cancelled' });
  expect((await second).config).toEqual({ name: 'step 2' });
});

test('an agent whose every slot has steps ahead has not lost its journal when it reconnects', async () => {
  await using t = await setup();
  const slots = limits.maxSlots;
  await t.start({ slots, stepsAheadMs: 60_000 });
  const { connection } = await t.server.nextSession();
  const chains = Array.from({ length: slots }, (_, n) => (n + 1) * 100);
  for (const first of chains) {
    const later = Array.from({ length: limits.maxStepsAhead - 1 }, (_, n) => ahead(first + n + 1));
    connection.send({ type: 'leases', leases: [lease(first), ...later] });
  }
  for (const _ of chains) await (await t.nextStep()).context.beforeStart();
  connection.close(1012);
  const { resume } = await t.server.nextSession();
  expect(resume.attempts.filter(({ state }) => state === 'running')).toHaveLength(slots);
  // What is missing from a journal that is not intact becomes unknown.
  expect(resume.journalIntact).toBe(true);
});
