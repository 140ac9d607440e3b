import { expect, test } from 'vitest';
import type { ProgressNews } from '../../runs/progress/run-ledger.ts';
import { blockedBackends, endOf, holdTransaction, setupRuns } from '../../runs/testing.ts';
import type { Tx } from '../../store/database/connection.ts';
import { Settler } from './settler.ts';

test('completions that come together are settled together', async () => {
  await using t = await setupRuns();
  const runId = await t.start({ targets: 6 });
  const leases = await t.claim();
  const news: ProgressNews[] = [];
  const settler = new Settler(t.sql, (each) => news.push(each));
  const results = await Promise.all(leases.map((lease) => settler.settle(endOf(lease))));
  expect(results.map(({ result }) => result)).toEqual(Array(6).fill('settled'));
  expect(news).toHaveLength(1);
  expect(news[0]?.runs).toMatchObject([{ id: runId, ended: true }]);
});

test('a completion that can’t be settled does not keep the others from being settled', async () => {
  await using t = await setupRuns();
  const runId = await t.start({ targets: 3 });
  const leases = await t.claim();
  const settler = new Settler(t.sql, () => undefined);
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
  const settler = new Settler(t.sql, () => undefined);
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
  const settler = new Settler(t.sql, () => undefined);
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
  const settler = new Settler(t.sql, () => undefined, { note: (stepId) => noted.push(stepId) });
  await settler.settle(endOf(lease));
  await settler.settle({ ...endOf(late), leaseToken: 'of another lease' });
  expect(noted).toEqual([lease.id]);
});
