import { expect, test } from 'vitest';
import { resumeAgent } from '../../runs/leases/resume-agent.ts';
import type { ProgressNews } from '../../runs/progress/run-ledger.ts';
import { blockedBackends, endOf, holdTransaction, setupRuns, success } from '../../runs/testing.ts';
import type { Tx } from '../../store/database/connection.ts';
import { Settler } from './settler.ts';

test('completions that come together are settled together', async () => {
  await using t = await setupRuns();
  const runId = await t.start({ targets: 6 });
  const leases = await t.claim();
  const news: ProgressNews[] = [];
  const settler = new Settler({ sql: t.sql, onNews: (each) => news.push(each) });
  const results = await Promise.all(leases.map((lease) => settler.settle(endOf(lease))));
  expect(results.map(({ result }) => result)).toEqual(Array(6).fill('settled'));
  expect(news).toHaveLength(1);
  expect(news[0]?.runs).toMatchObject([{ id: runId, ended: true }]);
});

test('a completion that can’t be settled does not keep the others from being settled', async () => {
  await using t = await setupRuns();
  const runId = await t.start({ targets: 3 });
  const leases = await t.claim();
  const settler = new Settler({ sql: t.sql, onNews: () => undefined });
  const [bad, ...good] = leases.map((lease) => endOf(lease));
  if (bad === undefined) throw new Error('nothing was leased');
  const output = { ...bad.output, digest: 'not base64!' };
  const results = await Promise.allSettled([{ ...bad, output }, ...good].map((end) => settler.settle(end)));
  expect(results.map(({ status }) => status)).toEqual(['rejected', 'fulfilled', 'fulfilled']);
  expect((await t.steps(runId)).map((step) => step.status)).toEqual(['running', 'succeeded', 'succeeded']);
});

test('while the database is away, completions are rejected, and settled once it is back', async () => {
  await using t = await setupRuns();
  await t.start();
  const end = endOf(await t.claimOne());
  await t.sql`alter table job_run_step_attempts rename to away`;
  const settler = new Settler({ sql: t.sql, onNews: () => undefined });
  await expect(settler.settle(end)).rejects.toThrow();
  await t.sql`alter table away rename to job_run_step_attempts`;
  expect(await settler.settle(end)).toMatchObject({ result: 'settled' });
});

test('a batch that waits for one run does not hold up many completions of others', async () => {
  await using t = await setupRuns();
  await t.connect(t.agent, { slots: 100 });
  const slowRun = await t.start();
  const [slow] = await t.claim();
  await t.start({ targets: 64 });
  const others = await t.claim();
  if (slow === undefined) throw new Error('nothing was leased');
  const settler = new Settler({ sql: t.sql, onNews: () => undefined });
  const lock = (tx: Tx) => tx`select 1 from job_runs where id = ${slowRun} for update`;
  const release = await holdTransaction(t.sql, lock);
  const waiting = settler.settle(endOf(slow));
  await blockedBackends(t.sql, 1);
  const results = await Promise.all(others.map((lease) => settler.settle(endOf(lease))));
  expect(new Set(results.map(({ result }) => result))).toEqual(new Set(['settled']));
  await release();
  expect(await waiting).toMatchObject({ result: 'settled' });
});

test('only ends that settled tell about their target', async () => {
  await using t = await setupRuns();
  await t.start({ targets: 2 });
  const [lease, late] = await t.claim();
  if (lease === undefined || late === undefined) throw new Error('nothing was leased');
  const noted: number[] = [];
  const settler = new Settler({
    sql: t.sql,
    onNews: () => undefined,
    contacts: { note: (stepId) => noted.push(stepId) },
  });
  await settler.settle(endOf(lease));
  await settler.settle({ ...endOf(late), leaseToken: 'of another lease' });
  expect(noted).toEqual([lease.id]);
});

/** Three steps in a row that one agent has, a step of a run that is slow, and enough others for a second batch. */
async function inARow() {
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
  await using t = await inARow();
  const { next, third } = t;
  const settler = new Settler({ sql: t.sql, onNews: () => undefined });
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
  await using t = await inARow();
  const { next, third } = t;
  const settler = new Settler({ sql: t.sql, onNews: () => undefined });
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
  await using t = await inARow();
  const { next, third } = t;
  const settler = new Settler({ sql: t.sql, onNews: () => undefined });
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
