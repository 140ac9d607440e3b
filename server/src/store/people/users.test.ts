import { expect, test } from 'vitest';
import { endOf, setupRuns } from '../../runs/testing.ts';
import { inTransaction } from '../database/transaction.ts';
import { deleteUser, tablesNaming } from './users.ts';

const rowsEach = 3_000;
/** Tables that grow with runs and saved versions, and name the user who did something. */
const longTables = ['job_runs', 'job_run_step_attempts', 'job_versions'];

test('a user who did nothing is deleted without scanning all runs, attempts and versions', async () => {
  await using t = await setupRuns();
  await t.start();
  await t.settle(endOf(await t.claimOne()));
  const copies = {
    job_runs: 'id',
    job_run_step_attempts: 'epoch',
    job_versions: 'version',
  };
  for (const [table, number] of Object.entries(copies)) {
    await t.sql`
      insert into ${t.sql(table)} overriding system value
      select made.* from ${t.sql(table)} r cross join generate_series(1, ${rowsEach}::integer) n
      cross join lateral jsonb_populate_record(r, jsonb_build_object(${number}::text, n + 10)) made`;
  }
  await t.sql`analyze`;
  const [{ id }] = await t.sql<[{ id: number }]>`insert into users (name) values ('mistyped') returning id`;
  const [before, after] = await inTransaction(t.sql, async (tx) => {
    // Statistics of this connection, including what it has not reported yet.
    const readWhole = () => tx<{ relname: string; seqScan: number }[]>`
      select relname, seq_scan from pg_stat_xact_user_tables where relname = any(${longTables}) order by relname`;
    const first = [...(await readWhole())];
    expect(await tablesNaming(tx, id)).toEqual([]);
    await deleteUser(tx, id);
    // Includes the scans caused by foreign keys of other tables.
    return [first, [...(await readWhole())]];
  });
  expect(after).toHaveLength(longTables.length);
  expect(after).toEqual(before);
});

test('a user who cancelled a run is named in runs, one who decided about a held step in attempts', async () => {
  await using t = await setupRuns();
  await t.start();
  await t.settle(endOf(await t.claimOne()));
  const [{ id }] = await t.sql<[{ id: number }]>`insert into users (name) values ('ann') returning id`;
  expect(await tablesNaming(t.sql, id)).toEqual([]);
  await t.sql`update job_run_step_attempts set decided_by = ${id}`;
  await t.sql`update job_runs set cancel_requested_by = ${id}`;
  expect(await tablesNaming(t.sql, id)).toEqual(['job_run_step_attempts', 'job_runs']);
});
