// Ends of steps that follow one another, in two batches that are settled at the same time.
import { expect, test } from 'vitest';
import { resumeAgent } from '../../runs/leases/resume-agent.ts';
import { blockedBackends, endOf, holdTransaction, setupRuns, success } from '../../runs/testing.ts';
import type { Tx } from '../../store/database/connection.ts';
import { Settler } from './settler.ts';

async function setup() {
  const t = await setupRuns();
  await t.connect(t.agent, { slots: 100 });
  const slowRun = await t.start();
  const [slow] = await t.claim();
  const runId = await t.start({ steps: 4 });
  const [first] = await t.claim();
  if (slow === undefined || first === undefined) throw new Error('nothing was leased');
  const [{ next, ahead: [third] = [] } = {}] = (
    await t.settle(endOf(first, success, { wantsNext: true, ahead: 2 }))
  ).results;
  if (next === undefined || third === undefined) throw new Error('nothing was leased ahead');
  await t.start({ targets: 64 });
  const others = await t.claim();
  return Object.assign(t, { slowRun, slow, runId, next, third, others });
}

test('the end of a step is not lost if the batch with that of the step before it waits for another run', async () => {
  await using t = await setup();
  const { next, third } = t;
  const settler = new Settler(t.sql, () => undefined);
  const lock = (tx: Tx) => tx`select 1 from job_runs where id = ${t.slowRun} for update`;
  const release = await holdTransaction(t.sql, lock);
  const slow = settler.settle(endOf(t.slow));
  const before = settler.settle(endOf(next), { mayWait: true });
  await blockedBackends(t.sql, 1);
  // The agent has ended the step that follows as well, and enough comes for a second batch.
  const after = settler.settle(endOf(third));
  const others = t.others.map((lease) => settler.settle(endOf(lease)));
  await Promise.all(others);
  await release();
  await slow;
  expect(await before).toMatchObject({ result: 'settled' });
  expect(await after).toMatchObject({ result: 'settled' });
  expect((await t.steps(t.runId)).slice(0, 3)).toMatchObject([
    { status: 'succeeded' },
    { status: 'succeeded' },
    { status: 'succeeded' },
  ]);
});

test('a step whose end came too early for the database is not run a second time', async () => {
  await using t = await setup();
  const { next, third } = t;
  const settler = new Settler(t.sql, () => undefined);
  const lock = (tx: Tx) => tx`select 1 from job_runs where id = ${t.slowRun} for update`;
  const release = await holdTransaction(t.sql, lock);
  const slow = settler.settle(endOf(t.slow));
  const before = settler.settle(endOf(next), { mayWait: true });
  await blockedBackends(t.sql, 1);
  const after = settler.settle(endOf(third));
  await Promise.all(t.others.map((lease) => settler.settle(endOf(lease))));
  await release();
  await Promise.all([slow, before, after]);
  // Whatever it was answered, the agent has dropped the attempt, and presents nothing when it reconnects.
  const again = await t.connect(t.agent, { ready: false });
  await resumeAgent(t.sql, {
    ...{ agentId: again.agentId, sessionNumber: again.sessionNumber, slots: 8, draining: false },
    ...{ version: '0.1.0', platform: 'linux-x64', hostname: null, journalIntact: true, attempts: [] },
  });
  const leased = await t.claim();
  expect(leased.filter(({ id }) => id === third.id)).toEqual([]);
});

test('an end that comes early waits for as long as its agent does, and no longer', async () => {
  await using t = await setup();
  const { next, third } = t;
  const settler = new Settler(t.sql, () => undefined);
  const unheard = await settler.settle(endOf(third), { isAwaited: () => false });
  expect(unheard).toMatchObject({ result: 'early' });
  let asked = 0;
  const waiting = settler.settle(endOf(third), {
    isAwaited: () => {
      asked += 1;
      return true;
    },
  });
  await expect.poll(() => asked).toBeGreaterThan(3);
  await settler.settle(endOf(next));
  expect(await waiting).toMatchObject({ result: 'settled' });
});
