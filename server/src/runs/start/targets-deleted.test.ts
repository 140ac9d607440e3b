// Runs that are started while their target is being deleted.
import { randomUUID } from 'node:crypto';
import { expect, test } from 'vitest';
import { applyPlan } from '../../inventory/apply-plan.ts';
import { createInventory } from '../../inventory/edit-inventories.ts';
import { planInventory } from '../../inventory/make-plan.ts';
import { readInventory } from '../../inventory/read-inventory.ts';
import { createJob } from '../../jobs/create-job.ts';
import { lockTargetsAgainstRuns } from '../../store/targets/inventory-targets.ts';
import { bulkChangeTargets } from '../../targets/bulk-targets.ts';
import { blockedBackends, holdTransaction, setupRuns, type TestRuns } from '../testing.ts';
import { startRun } from './start-run.ts';

const lockNotAvailable = '55P03';

async function deleteByBulk(t: TestRuns): Promise<{ targetId: number; remove: () => Promise<unknown> }> {
  const targetId = await t.addTarget();
  const request = { selection: { targetIds: [targetId] }, delete: true as const };
  return { targetId, remove: () => bulkChangeTargets(t.sql, request, t.caller) };
}

async function deleteByImport(t: TestRuns): Promise<{ targetId: number; remove: () => Promise<unknown> }> {
  const targetId = await t.addTarget();
  const about = { name: `inventory ${randomUUID()}`, format: 'csv' as const, segmentId: t.segmentId };
  const { id } = await createInventory(t.sql, { ...about, options: {} }, t.caller);
  const plan = async (name: string) => {
    const files = [{ path: 'hosts.csv', content: `name\n${name}\n` }];
    return (await planInventory(t.sql, id, { files, adopt: 'by_hand' }, t.caller, readInventory)).id;
  };
  const apply = (planId: string) => applyPlan(t.sql, id, planId, { gone: 'delete' }, t.caller);
  await apply(await plan('host-1'));
  const withoutIt = await plan('another');
  return { targetId, remove: () => apply(withoutIt) };
}

test.each([
  ['a bulk change', deleteByBulk],
  ['an import', deleteByImport],
])('a run on a target that %s is deleting is refused', async (_, prepare) => {
  await using t = await setupRuns();
  const { targetId, remove } = await prepare(t);
  const steps = [{ name: 'step', type: 'ssh.exec', config: { command: 'true' } }];
  const { id: jobId } = await createJob(t, { name: 'job', steps }, t.caller);
  // At this point it checks whether an open run has the target; from then on no new run may get it.
  const letGo = await holdTransaction(t.sql, (tx) => tx`lock table job_run_targets in access exclusive mode`);
  const removing = remove();
  removing.catch(() => undefined);
  await blockedBackends(t.sql, 1);
  // The lock that a row takes which refers to the target.
  const refer = t.sql`select 1 from targets where id = ${targetId} for key share nowait`;
  await expect(refer).rejects.toMatchObject({ code: lockNotAvailable });
  const starting = startRun(t, { jobId, selection: { targetIds: [targetId] } }, t.caller);
  starting.catch(() => undefined);
  await blockedBackends(t.sql, 2);
  await letGo();
  await expect(starting).rejects.toMatchObject({ code: 'not_found' });
  await removing;
  expect(await t.sql`select 1 from targets where id = ${targetId}`).toEqual([]);
});

async function setupWaiting() {
  const t = await setupRuns();
  const steps = [{ name: 'step', type: 'ssh.exec', config: { command: 'true' } }];
  const { id: jobId } = await createJob(t, { name: 'job', steps }, t.caller);
  return Object.assign(t, {
    /** Resolves when all that wait for a lock have tried once in vain, and so wait in line. */
    allInLine: () =>
      expect
        .poll(
          async () => {
            const waiting = await t.sql<{ query: string }[]>`
              select query from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`;
            return waiting.map(({ query }) => query.includes('order by id for key share'));
          },
          { timeout: 10_000 },
        )
        .toEqual([true]),
    /** Holds a lock as if someone were about to delete the target; returns the function that releases it. */
    hold: (targetId: number) => holdTransaction(t.sql, (tx) => lockTargetsAgainstRuns(tx, [targetId])),
    /** Collects, from now on, how long transactions of this pool may wait for a lock, in ms. */
    lockBounds() {
      const boundsMs: number[] = [];
      t.sql.options.debug = (_connection, query, parameters) => {
        if (query.includes('lock_timeout')) boundsMs.push(Number(parameters[0]));
      };
      return boundsMs;
    },
    async startOn(targetId: number) {
      const { runId } = await startRun(t, { jobId, selection: { targetIds: [targetId] } }, t.caller);
      return (await t.steps(runId)).length;
    },
  });
}

test('starts that wait for a target being deleted hold up no others, however many they are', async () => {
  await using t = await setupWaiting();
  const [targetId, other] = [await t.addTarget(), await t.addTarget()];
  const letGo = await t.hold(targetId);
  const waiting = Array.from({ length: 2 * t.sql.options.max }, () => t.startOn(targetId));
  const whichever = Promise.race(waiting);
  whichever.catch(() => undefined);
  expect(await Promise.race([t.startOn(other).then(() => 'the other'), whichever])).toBe('the other');
  // They are still waiting.
  await blockedBackends(t.sql, 1);
  await letGo();
  expect(new Set(await Promise.all(waiting))).toEqual(new Set([1]));
});

test('of several waiting starts, one that may go on does so, whoever came before it', async () => {
  await using t = await setupWaiting();
  const [long, short] = [await t.addTarget(), await t.addTarget()];
  const [letGoOfLong, letGoOfShort] = [await t.hold(long), await t.hold(short)];
  const before = t.startOn(long);
  before.catch(() => undefined);
  await t.allInLine();
  const it = t.startOn(short);
  it.catch(() => undefined);
  await blockedBackends(t.sql, 2);
  await t.allInLine();
  await letGoOfShort();
  expect(await Promise.race([it.then(() => 'the short one'), before])).toBe('the short one');
  await letGoOfLong();
  expect(await before).toBe(1);
});

test('a start whose lock is released soon is not held up for long by many whose locks last', async () => {
  await using t = await setupWaiting();
  const [long, short] = [await t.addTarget(), await t.addTarget()];
  const [letGoOfLong, letGoOfShort] = [await t.hold(long), await t.hold(short)];
  const before = Array.from({ length: 10 }, () => t.startOn(long));
  const whichever = Promise.race(before);
  whichever.catch(() => undefined);
  await t.allInLine();
  const it = t.startOn(short);
  it.catch(() => undefined);
  await blockedBackends(t.sql, 2);
  await t.allInLine();
  const boundsMs = t.lockBounds();
  await letGoOfShort();
  expect(await Promise.race([it.then(() => 'the short one'), whichever])).toBe('the short one');
  // If ten waited as long as one alone does, that would be 5 s.
  expect(boundsMs.length).toBeGreaterThan(0);
  expect(boundsMs.reduce((sum, ms) => sum + ms)).toBeLessThan(3_000);
  await letGoOfLong();
  expect(new Set(await Promise.all(before))).toEqual(new Set([1]));
});
