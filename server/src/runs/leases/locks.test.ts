import type { Lock } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { inTransaction } from '../../store/database/transaction.ts';
import { freeStaleLocks } from '../../store/queue/sweep/lock-slots.ts';
import { cancelRun } from '../ends/cancel-run.ts';
import { endOf, givenUp, refuseToWrite, setupRuns, type TestRuns } from '../testing.ts';

const otherServerId = '0b7e1c52-0000-4000-8000-000000000002';
const database: Lock = { name: 'database', mode: 'exclusive' };
const reading: Lock = { name: 'database', mode: 'shared' };

async function holders(t: TestRuns): Promise<string[]> {
  const rows = await t.sql<{ held: string }[]>`
    select lock_key || '#' || slot || ' by run ' || job_run_id as held from lock_slots order by 1`;
  return rows.map((row) => row.held);
}

const sweepLocks = async (t: TestRuns) => (await inTransaction(t.sql, (tx) => freeStaleLocks(tx))).segments;

test('an exclusive lock lets one target run go at a time, from its first lease to its end', async () => {
  await using t = await setupRuns();
  const runId = await t.start({ targets: 3, steps: 2, job: { locks: [database] } });
  for (let target = 0; target < 3; target += 1) {
    const first = await t.claimOne();
    expect(await holders(t)).toEqual([`database#0 by run ${runId}`]);
    expect(await t.claim()).toEqual([]);
    const { results } = await t.settle(endOf(first, undefined, { wantsNext: true }));
    const next = results[0]?.next;
    if (next === undefined) throw new Error('the second step was not passed on');
    expect(await t.claim()).toEqual([]);
    await t.settle(endOf(next));
  }
  expect(await holders(t)).toEqual([]);
  expect((await t.run(runId)).status).toBe('succeeded');
});

test('steps that wait for a lock do not keep others from their slots', async () => {
  await using t = await setupRuns();
  await t.connect(t.agent, { slots: 3 });
  await t.start({ job: { locks: [database] } });
  await t.claimOne();
  await t.start({ targets: 60, job: { locks: [database] } });
  const free = await t.start({ targets: 2 });
  // A claim may only have moved the waiting steps aside; it says then that it has to be repeated.
  const claimed = [...(await t.claim()), ...(await t.claim())];
  expect(claimed.map((step) => step.jobRunId)).toEqual([free, free]);
});

test('a shared lock has as many holders as slots, across jobs', async () => {
  await using t = await setupRuns();
  const job = { locks: [{ ...reading, slots: 2 }] };
  await t.start({ targets: 2, job });
  const third = await t.start({ job });
  const claimed = await t.claim();
  expect(claimed).toHaveLength(2);
  expect(await holders(t)).toHaveLength(2);
  await t.settle(endOf(claimed[0] ?? (await t.claimOne())));
  expect((await t.claimOne()).jobRunId).toBe(third);
});

test('a step that waits for an exclusive lock is not overtaken by those that share it', async () => {
  await using t = await setupRuns();
  await t.start({ job: { locks: [reading] } });
  const reader = await t.claimOne();
  const writer = await t.start({ job: { locks: [database] } });
  expect(await t.claim()).toEqual([]);
  await t.start({ job: { locks: [reading] } });
  expect(await t.claim()).toEqual([]);
  await sweepLocks(t);
  expect(await t.claim()).toEqual([]);
  await t.settle(endOf(reader));
  expect((await t.claimOne()).jobRunId).toBe(writer);
});

test('either all locks of a target run are taken or none', async () => {
  await using t = await setupRuns();
  await t.start({ job: { locks: [{ name: 'b', mode: 'exclusive' }] } });
  await t.claimOne();
  const both: Lock[] = ['a', 'b', 'c'].map((name) => ({ name, mode: 'exclusive' }));
  await t.start({ job: { locks: both } });
  expect(await t.claim()).toEqual([]);
  expect(await holders(t)).toHaveLength(1);
  const other = await t.start({ job: { locks: [{ name: 'a', mode: 'exclusive' }] } });
  expect((await t.claimOne()).jobRunId).toBe(other);
});

test('a lock per target applies across jobs, but not across targets', async () => {
  await using t = await setupRuns();
  const job = { locks: [{ name: 'host', mode: 'exclusive', per: 'target' } as const] };
  const targetIds = [await t.addTarget(), await t.addTarget()];
  const first = await t.start({ targetIds, job });
  await t.start({ targetIds, job });
  const claimed = await t.claim();
  expect(claimed.map((step) => step.jobRunId)).toEqual([first, first]);
});

test('two servers that claim at once never share an exclusive lock', async () => {
  await using t = await setupRuns();
  const other = await t.addAgent('agent-b');
  await t.connect(other, { slots: 40, serverId: otherServerId });
  await t.connect(t.agent, { slots: 40 });
  await t.start({ targets: 20, job: { locks: [database] } });
  for (let round = 0; round < 5; round += 1) {
    const claims = await Promise.all([1, 2, 3].flatMap(() => [t.claim(), t.claim(otherServerId)]));
    const claimed = claims.flat();
    if (claimed.length === 0) {
      await sweepLocks(t);
      claimed.push(...(await t.claim()));
    }
    expect(claimed).toHaveLength(1);
    await t.settle(...claimed.map((step) => endOf(step)));
  }
});

test('an unknown target run keeps its locks until a late result settles it', async () => {
  await using t = await setupRuns();
  await t.start({ job: { locks: [database] } });
  const lease = await t.claimOne();
  await t.settle(givenUp(lease));
  const waiting = await t.start({ job: { locks: [database] } });
  expect(await t.claim()).toEqual([]);
  await sweepLocks(t);
  expect(await t.claim()).toEqual([]);
  await t.settle(endOf(lease));
  expect((await t.claimOne()).jobRunId).toBe(waiting);
});

test('an unknown target run loses its locks an hour after its attempt could have gone on', async () => {
  await using t = await setupRuns();
  await t.start({ job: { locks: [database] } });
  await t.settle(givenUp(await t.claimOne()));
  await t.sql`update job_run_steps set deadline_at = clock_timestamp() - interval '61 min'`;
  await sweepLocks(t);
  expect(await holders(t)).toEqual([]);
});

test('purging a run frees its locks, and the sweep lets the next one go', async () => {
  await using t = await setupRuns();
  const runId = await t.start({ job: { locks: [database] } });
  await t.settle(givenUp(await t.claimOne()));
  const waiting = await t.start({ job: { locks: [database] } });
  expect(await t.claim()).toEqual([]);
  await t.sql`delete from job_runs where id = ${runId}`;
  expect(await sweepLocks(t)).toEqual([t.segmentId]);
  expect((await t.claimOne()).jobRunId).toBe(waiting);
});

test('a lease that came back unbegun gives its locks back', async () => {
  await using t = await setupRuns();
  await t.start({ job: { locks: [database] } });
  const { id } = await t.claimOne();
  await t.sql`update lock_slots set taken_at = clock_timestamp() - interval '1 min'`;
  await sweepLocks(t);
  expect(await holders(t)).toHaveLength(1);
  await t.sql`
    update job_run_steps set status = 'ready', agent_id = null, session_number = null, lease_token = null where id = ${id}`;
  await sweepLocks(t);
  expect(await holders(t)).toEqual([]);
});

test('a forced cancel keeps the lock of a step that may still go on, until the agent says how it ended', async () => {
  await using t = await setupRuns();
  const runId = await t.start({ targets: 2, job: { locks: [database] } });
  const lease = await t.claimOne();
  await cancelRun(t.sql, runId, t.caller, { force: true });
  expect(await holders(t)).toEqual([`database#0 by run ${runId}`]);
  const next = await t.start({ job: { locks: [database] } });
  expect(await t.claim()).toEqual([]);
  await t.settle(endOf(lease));
  expect((await t.claimOne()).jobRunId).toBe(next);
});

test.each([
  ['exclusive', database],
  ['shared', reading],
] as const)(
  'a step that waits for a lock and whose row can’t be written holds up neither the end of the holder nor others (%s)',
  async (_, wanted) => {
    await using t = await setupRuns();
    const held = await t.start({ job: { locks: [database] } });
    const lease = await t.claimOne();
    const bad = await t.start({ job: { locks: [database] } });
    expect(await t.claim()).toEqual([]);
    const other = await t.start({ job: { locks: [wanted] } });
    expect(await t.claim()).toEqual([]);
    const [step] = await t.steps(bad);
    const allow = await refuseToWrite(t.sql, step?.id ?? 0);
    expect((await t.settle(endOf(lease))).results).toMatchObject([{ result: 'settled' }]);
    expect((await t.run(held)).status).toBe('succeeded');
    const next = await t.claimOne();
    expect(next.jobRunId).toBe(other);
    expect(await inTransaction(t.sql, (tx) => freeStaleLocks(tx))).toMatchObject(
      wanted === reading ? { refused: [step?.id] } : {},
    );
    await t.settle(endOf(next));
    await allow();
    await sweepLocks(t);
    expect((await t.claimOne()).jobRunId).toBe(bad);
  },
);
