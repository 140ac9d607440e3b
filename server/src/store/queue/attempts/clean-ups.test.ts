import { expect, test } from 'vitest';
import { givenUp, setupRuns } from '../../../runs/testing.ts';
import { inTransaction } from '../../database/transaction.ts';
import { noteCleanUps, takeDueCleanUps } from './clean-ups.ts';
import { listAttempts } from './step-attempts.ts';

/** Sets up an attempt whose clean-up is due, and two agents of its segment. */
async function setup() {
  const t = await setupRuns();
  const other = await t.addAgent('other');
  await t.start();
  const step = await t.claimOne();
  await t.settle(givenUp(step));
  await t.sql`update attempt_clean_ups set due_at = clock_timestamp()`;
  const { segmentId } = t;
  return Object.assign(t, {
    other,
    take: async ({ agentId }: { agentId: number }) =>
      (await takeDueCleanUps(t.sql, { segmentId, agentId }, 10)).length,
    unreachable: ({ agentId }: { agentId: number }) =>
      inTransaction(t.sql, (tx) =>
        noteCleanUps(tx, agentId, [
          { step: step.id, epoch: step.epoch, found: 'unreachable', survivors: null },
        ]),
      ),
    later: (seconds: number) =>
      t.sql`update attempt_clean_ups set asked_at = asked_at - make_interval(secs => ${seconds}),
        told_at = told_at - make_interval(secs => ${seconds})`,
  });
}

test('while one agent may still answer, no other agent is asked about the same attempt', async () => {
  await using t = await setup();
  expect(await t.take(t.agent)).toBe(1);
  await t.sql`update agent_sessions set connected_at = connected_at - interval '1 hour'`;
  await t.later(50);
  expect(await t.take(t.agent)).toBe(0);
  expect(await t.take(t.other)).toBe(0);
  await t.later(11);
  expect(await t.take(t.other)).toBe(1);
});

test('an agent that does not know about the user a command ran as is not asked about it', async () => {
  await using t = await setup();
  await t.sql`update job_run_steps set needs = '{become}'`;
  expect(await t.take(t.agent)).toBe(0);
  await t.connect(t.other, { capabilities: ['clean_up', 'become'] });
  expect(await t.take(t.other)).toBe(1);
});

test.each([
  ['has come back in a new session', `connected_at = clock_timestamp()`],
  ['is gone', `disconnected_at = clock_timestamp()`],
  ['has fallen silent', `expires_at = clock_timestamp() - interval '1 second'`],
])('an agent that was asked and %s leaves it to whoever comes', async (_, change) => {
  await using t = await setup();
  expect(await t.take(t.agent)).toBe(1);
  await t.sql.unsafe(`update agent_sessions set ${change} where agent_id = ${t.agent.agentId}`);
  expect(await t.take(t.other)).toBe(1);
});

test('if one agent could not reach the target, another one tries soon, and the same one later', async () => {
  await using t = await setup();
  expect(await t.take(t.agent)).toBe(1);
  await t.unreachable(t.agent);
  await t.later(6);
  expect(await t.take(t.agent)).toBe(0);
  expect(await t.take(t.other)).toBe(1);
  await t.unreachable(t.other);
  await t.later(21);
  expect(await t.take(t.other)).toBe(0);
  expect(await t.take(t.agent)).toBe(1);
});

test('a target that only one agent can be asked about is tried again by that agent', async () => {
  await using t = await setup();
  expect(await t.take(t.agent)).toBe(1);
  await t.unreachable(t.agent);
  await t.later(21);
  expect(await t.take(t.agent)).toBe(1);
});

test('an attempt shows when its clean-up is due until an agent is asked', async () => {
  await using t = await setup();
  const told = async () => {
    const [row] = await t.sql<{ id: number; dueAt: Date }[]>`
      select job_run_step_id as id, due_at from attempt_clean_ups`;
    const [attempt] = await listAttempts(t.sql, row?.id ?? 0);
    return { due: row?.dueAt, state: attempt?.cleanUpState, told: attempt?.cleanUpDue };
  };
  const waits = await told();
  expect(waits).toMatchObject({ state: 'waits', told: waits.due });
  expect(await t.take(t.agent)).toBe(1);
  expect(await told()).toMatchObject({ state: 'asked', told: null });
});
