import { expect, test } from 'vitest';
import { unrestricted } from '../../store/people/visibility.ts';
import { makeOutputPartitions } from '../../store/runs/run-output.ts';
import { decideHeld } from '../ends/decide-held.ts';
import { endOf, givenUp, holdTransaction } from '../testing.ts';
import { chunkOf, setupOutput, type TestOutput } from './output-testing.ts';
import { findOutput } from './read-output.ts';
import { applyRetention } from './retention.ts';

const dayMs = 24 * 3_600_000;
const quiet = { warn() {}, error() {} } as never;

/** Applies retention as if this many days had passed. */
function later(t: TestOutput, days: number, keep: { outputDays?: number; runDays?: number }) {
  return applyRetention({
    sql: t.sql,
    log: quiet,
    outputDays: keep.outputDays,
    runDays: keep.runDays,
    now: new Date(Date.now() + days * dayMs),
  });
}

/** Applies a retention of two days as if it were this many days after the attempt's day. */
function keepFrom(t: TestOutput, { attemptDay }: { attemptDay: string }, days: number) {
  const now = new Date(Date.parse(attemptDay) + days * dayMs);
  return applyRetention({ sql: t.sql, log: quiet, outputDays: 2, runDays: undefined, now });
}

async function partitions(t: TestOutput): Promise<string[]> {
  const rows = await t.sql<{ name: string }[]>`
    select c.relname as name from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'run_output'::regclass order by 1`;
  return rows.map((row) => row.name);
}

/** Returns the partitions, even if midnight has passed since the template of this database was made. */
async function partitionsNow(t: TestOutput): Promise<string[]> {
  await makeOutputPartitions(t.sql);
  return partitions(t);
}

const dayOf = (partition: string) => partition.slice(-8).replace(/^(\d{4})(\d\d)(\d\d)$/, '$1-$2-$3');

const audited = (t: TestOutput) =>
  t.sql`select action, detail from audit_log where action like '%.expired' order by id`;

test('output is kept forever by default, and whole days are dropped when they are old enough', async () => {
  await using t = await setupOutput();
  const runId = await t.start();
  const lease = await t.claimOne();
  await t.send(lease, chunkOf(lease, 1, 'old\n'));
  await t.settle(endOf(lease));
  const today = `run_output_${lease.attemptDay.replaceAll('-', '')}`;
  const before = await partitions(t);
  // One, or two if midnight has passed since they were made.
  const older = before.filter((name) => name < today).length;
  expect(await later(t, 3_000, {})).toEqual({ partitions: 0, runs: 0 });
  expect(await keepFrom(t, lease, 2)).toMatchObject({ partitions: older });
  expect(await t.stored(lease)).toEqual([1]);

  expect(await keepFrom(t, lease, 3)).toEqual({ partitions: 1, runs: 0 });
  expect(await partitions(t)).toEqual(before.filter((name) => name > today));
  await expect(findOutput(t, { runId, stepId: lease.id }, unrestricted)).rejects.toMatchObject({
    code: 'output_expired',
    message: expect.stringContaining(lease.attemptDay),
  });
  const removed = await audited(t);
  expect(removed).toHaveLength(older + 1);
  expect(removed[0]).toMatchObject({ action: 'output.expired', detail: { keptDays: 2 } });
  expect(removed.at(-1)).toMatchObject({ action: 'output.expired', detail: { day: lease.attemptDay } });
  expect(await keepFrom(t, lease, 3)).toEqual({ partitions: 0, runs: 0 });
});

test('nothing of an open attempt is dropped, and late output for a dropped day is refused', async () => {
  await using t = await setupOutput();
  await t.start();
  const lease = await t.claimOne();
  await t.send(lease, chunkOf(lease, 1, 'begun\n'));
  await later(t, 9, { outputDays: 2 });
  expect(await t.stored(lease)).toEqual([1]);
  await t.settle(givenUp(lease));
  expect(await t.send(lease, chunkOf(lease, 2, 'late\n'))).toEqual(['stored']);
  await later(t, 9, { outputDays: 2 });
  expect(await t.send(lease, chunkOf(lease, 3, 'too late\n'))).toEqual(['refused']);
});

test('while output is kept only from a day in the future, because a clock was ahead, no day is dropped', async () => {
  await using t = await setupOutput();
  await t.start();
  const lease = await t.claimOne();
  await t.send(lease, chunkOf(lease, 1, 'kept\n'));
  await t.settle(endOf(lease));
  const before = await partitions(t);
  await t.sql`update output_retention set kept_from = current_date + 275`;
  expect(await keepFrom(t, lease, 3)).toEqual({ partitions: 0, runs: 0 });
  expect(await partitions(t)).toEqual(before);
  expect(await t.stored(lease)).toEqual([1]);
});

test('output of a step that waits for a decision is kept until then, however long that takes', async () => {
  await using t = await setupOutput();
  const runId = await t.start({ rules: [{ on_unknown: 'hold', hold_for: 864_000 }] });
  const lease = await t.claimOne();
  await t.send(lease, chunkOf(lease, 1, 'begun\n'));
  await t.settle(givenUp(lease));
  expect(await t.steps(runId)).toMatchObject([{ status: 'held' }]);
  await later(t, 9, { outputDays: 2 });
  expect(await t.stored(lease)).toEqual([1]);
  expect(await t.send(lease, chunkOf(lease, 2, 'late\n'))).toEqual(['stored']);
  await decideHeld(t.sql, runId, { decision: 'failed', note: 'it was enough' }, t.caller);
  await later(t, 9, { outputDays: 2 });
  expect(await t.stored(lease)).toEqual([]);
});

test('ended runs are removed with everything of theirs when they are old enough, in batches; open ones stay', async () => {
  await using t = await setupOutput();
  const old = await t.start();
  const lease = await t.claimOne();
  await t.send(lease, chunkOf(lease, 1, 'old\n'));
  await t.settle(endOf(lease));
  const ended = await t.start();
  await t.settle(endOf(await t.claimOne()));
  const open = await t.start();
  await t.sql`update job_runs set completed_at = completed_at - interval '40 days' where id = ${old}`;
  // Not even one that has ended before and goes on.
  await t.sql`update job_runs set completed_at = now() - interval '40 days' where id = ${open}`;
  // Enough ended runs for two batches.
  await t.sql`
    insert into job_runs (job_id, job_version, status, completed_at, start_by, data_key, targets_total, total_steps)
    select job_id, job_version, status, completed_at, start_by, data_key, 0, 0
    from job_runs, generate_series(1, 120) where id = ${old}`;
  expect(await later(t, 0, { runDays: 30 })).toEqual({ partitions: 0, runs: 121 });
  const left = await t.sql<{ id: number }[]>`select id from job_runs order by id`;
  expect(left.map((row) => row.id)).toEqual([ended, open]);
  expect(await t.sql`select 1 from job_run_steps where job_run_id = ${old}`).toHaveLength(0);
  expect(await t.stored(lease)).toEqual([]);
  expect(await audited(t)).toMatchObject([{ action: 'runs.expired' }, { action: 'runs.expired' }]);
});

test('a run that the database refuses to delete keeps no others from being removed', async () => {
  await using t = await setupOutput();
  const runs: number[] = [];
  for (let n = 0; n < 4; n += 1) {
    runs.push(await t.start());
    await t.settle(endOf(await t.claimOne()));
  }
  await t.sql.unsafe(`
    create function refuse() returns trigger language plpgsql as $$
      begin raise exception 'this row can not be deleted'; end $$;
    create trigger refuse before delete on job_runs for each row when (old.id = ${runs[1]}) execute function refuse()`);
  expect(await later(t, 30, { runDays: 10 })).toEqual({ partitions: 0, runs: 3 });
  expect(await t.sql`select id from job_runs`).toEqual([{ id: runs[1] }]);
  // Those of one batch are told in any order.
  const told = (await audited(t)).flatMap(({ detail }) => detail.runs as number[]);
  expect(new Set(told)).toEqual(new Set([runs[0], runs[2], runs[3]]));
  expect(told).toHaveLength(3);
});

test('batches of runs have few enough steps to keep nobody waiting; a large run is a batch of its own', async () => {
  await using t = await setupOutput();
  const runId = await t.start();
  await t.settle(endOf(await t.claimOne()));
  await t.sql`
    insert into job_runs (job_id, job_version, status, completed_at, start_by, data_key, targets_total, total_steps)
    select job_id, job_version, status, completed_at - n * interval '1 day', start_by, data_key, 0, steps
    from job_runs, unnest(array[2000, 100000, 2000, 3000, 10]) with ordinality as s(steps, n) where id = ${runId}`;
  expect(await later(t, 10, { runDays: 9 })).toEqual({ partitions: 0, runs: 6 });
  const batches = await audited(t);
  // From the oldest on; the last one is the run from the setup.
  expect(batches.map(({ detail }) => detail.runs.length)).toEqual([2, 1, 1, 2]);
});

test('while a backup reads all output, only the first day is waited for', async () => {
  await using t = await setupOutput();
  const before = await partitions(t);
  const warnings: object[] = [];
  const log = { warn: (of: object) => void warnings.push(of) } as never;
  const backupIsDone = await holdTransaction(t.sql, (tx) => tx`lock table run_output in access share mode`);
  const now = new Date(Date.now() + 9 * dayMs);
  const old = before.filter(
    (name) => dayOf(name) < new Date(now.getTime() - dayMs).toISOString().slice(0, 10),
  );
  const deps = { sql: t.sql, outputDays: 1, runDays: undefined, now };
  expect(await applyRetention({ ...deps, log })).toEqual({
    partitions: 0,
    runs: 0,
  });
  expect(warnings).toMatchObject([{ partition: before[0] }]);
  await backupIsDone();
  expect(old.length).toBeGreaterThan(8);
  expect(await applyRetention({ ...deps, log: quiet })).toMatchObject({ partitions: old.length });
});

test('a day’s partition is made while a backup reads all output, and storing output waits for neither', async () => {
  await using t = await setupOutput();
  await t.start();
  const lease = await t.claimOne();
  const before = await partitionsNow(t);
  await t.sql`drop table ${t.sql(before.at(-1) ?? '')}`;
  const backupIsDone = await holdTransaction(t.sql, (tx) => tx`lock table run_output in access share mode`);
  await makeOutputPartitions(t.sql);
  expect(await partitions(t)).toEqual(before);
  expect(await t.send(lease, chunkOf(lease, 1, 'meanwhile\n'))).toEqual(['stored']);
  await backupIsDone();
});

test('a holder of an exclusive lock on the output table is waited for no longer than two seconds', async () => {
  await using t = await setupOutput();
  const before = await partitionsNow(t);
  await t.sql`drop table ${t.sql(before.at(-1) ?? '')}`;
  const otherIsDone = await holdTransaction(
    t.sql,
    (tx) => tx`lock table run_output in access exclusive mode`,
  );
  await expect(makeOutputPartitions(t.sql)).rejects.toThrow('lock timeout');
  await otherIsDone();
  await makeOutputPartitions(t.sql);
  expect(await partitions(t)).toEqual(before);
});

test('a partition has the columns, constraints and indexes of its table, whichever way it was made', async () => {
  await using t = await setupOutput();
  const [name = ''] = (await partitions(t)).slice(-1);
  const shape = async () => {
    const columns = await t.sql`
      select attname, attnotnull, attstorage, attislocal, attinhcount from pg_attribute
      where attrelid = ${name}::regclass and attnum > 0 order by attnum`;
    const constraints = await t.sql`
      select conname, contype, conislocal, coninhcount, pg_get_constraintdef(oid) as def from pg_constraint
      where conrelid = ${name}::regclass order by conname`;
    const indexes = await t.sql`
      select indexrelid::regclass::text, inhparent::regclass::text from pg_index
      left join pg_inherits on inhrelid = indexrelid where indrelid = ${name}::regclass`;
    return [columns, constraints, indexes].map((rows) => [...rows]);
  };
  await t.sql`drop table ${t.sql(name)}`;
  await t.sql.unsafe(`create table ${name} partition of run_output
    for values from ('${dayOf(name)}') to ('${dayOf(name)}'::date + 1)`);
  const created = await shape();
  await t.sql`drop table ${t.sql(name)}`;
  await makeOutputPartitions(t.sql);
  expect(await shape()).toEqual(created);
});

test('while one server removes old data, another one leaves it alone', async () => {
  await using t = await setupOutput();
  await t.start();
  await t.settle(endOf(await t.claimOne()));
  const otherIsDone = await holdTransaction(t.sql, (tx) => tx`select pg_advisory_xact_lock(${0x0_95c0_5e})`);
  expect(await later(t, 9, { outputDays: 2, runDays: 2 })).toEqual({ partitions: 0, runs: 0 });
  await otherIsDone();
  expect(await later(t, 9, { outputDays: 2, runDays: 2 })).toEqual({
    partitions: expect.any(Number),
    runs: 1,
  });
});
