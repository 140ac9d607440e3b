import { runStatuses, statusEdges, stepStatuses } from '@opsconductor/protocol';
import { expect, onTestFinished, test } from 'vitest';
import { setupRuns, type TestRuns } from '../../runs/testing.ts';
import { sqlState } from '../database/connection.ts';
import { inTransaction } from '../database/transaction.ts';
import { lockStepsAndNext, notifyProgress } from './run-progress.ts';

const checkViolation = '23514';

test('the database’s edges are those of the state machine', async () => {
  await using t = await setupRuns();
  const rows = await t.sql<{ kind: string; fromStatus: string; toStatus: string }[]>`
    select kind, from_status, to_status from status_edges`;
  const inDatabase = rows.map((row) => `${row.kind}: ${row.fromStatus} → ${row.toStatus}`).sort();
  const inCode = Object.entries(statusEdges).flatMap(([kind, edges]) =>
    Object.entries(edges as Record<string, readonly string[]>).flatMap(([from, to]) =>
      to.map((next) => `${kind}: ${from} → ${next}`),
    ),
  );
  expect(inDatabase).toEqual(inCode.sort());
});

test.each(['job_run_steps', 'job_run_targets', 'job_runs'] as const)(
  'the database allows %s to change along the edges only',
  async (table) => {
    await using t = await setupRuns();
    await t.start();
    await t.claimOne();
    const kind = ({ job_run_steps: 'step', job_run_targets: 'target_run', job_runs: 'run' } as const)[table];
    const edges: Record<string, readonly string[]> = statusEdges[kind];
    const statuses: readonly string[] = kind === 'step' ? stepStatuses : runStatuses;
    for (const from of statuses) {
      for (const to of statuses) {
        if (from === to) continue;
        expect([from, to, await goes(t, table, from, to)]).toEqual([from, to, edges[from]?.includes(to)]);
      }
    }
  },
);

/** Tries the change in a transaction that is rolled back. */
async function goes(t: TestRuns, table: string, from: string, to: string): Promise<boolean> {
  const undo = new Error('undone');
  return t.sql
    .begin(async (tx) => {
      await tx.unsafe(`alter table ${table} disable trigger ${table}_edge`);
      await tx.unsafe(`update ${table} set status = '${from}'`);
      await tx.unsafe(`alter table ${table} enable trigger ${table}_edge`);
      await tx.unsafe(`update ${table} set status = '${to}'`);
      throw undo;
    })
    .then(
      () => true,
      (error) => {
        if (error === undo) return true;
        if (sqlState(error) === checkViolation) return false;
        throw error;
      },
    );
}

test('a step can’t be running without a lease', async () => {
  await using t = await setupRuns();
  await t.start();
  await expect(t.sql`update job_run_steps set status = 'running'`).rejects.toMatchObject({
    code: checkViolation,
  });
});

test('a version of a job can’t be changed', async () => {
  await using t = await setupRuns();
  await t.start();
  await expect(t.sql`update job_versions set step_names = '{}'`).rejects.toThrow(/immutable/);
});

test('news of more runs than fit into a notification is sent in several', async () => {
  await using t = await setupRuns();
  const heard: string[] = [];
  const { unlisten } = await t.sql.listen('opsc_progress', (payload) => heard.push(payload));
  onTestFinished(() => unlisten().catch(() => undefined));
  const runs = Array.from({ length: 1_000 }, (_, n) => ({
    id: 9_000_000_000_000_000 + n,
    seq: 9_000_000_000,
  }));
  const segments = Array.from({ length: 300 }, (_, n) => n);
  await inTransaction(t.sql, (tx) => notifyProgress(tx, { runs, segments, cancel: [7] }));
  const last = new Promise<void>(
    (resolve) => void t.sql.listen('opsc_last', () => resolve()).then(() => t.sql.notify('opsc_last', '')),
  );
  await last;
  const news = heard.map((payload) => JSON.parse(payload) as { r: string[]; s: number[]; c: number[] });
  expect(news.flatMap((each) => each.r)).toHaveLength(1_000);
  expect(new Set(news.flatMap((each) => each.s)).size).toBe(300);
  expect(news.flatMap((each) => each.c)).toEqual([7]);
});

test('the steps of a batch are found without reading the others', async () => {
  await using t = await setupRuns();
  await t.start({ steps: 2 });
  const { id, jobRunId, targetRunId, segmentId } = await t.claimOne();
  await t.sql`
    insert into job_run_steps (job_run_id, target_run_id, segment_id, step_number, step_type, time_budget_s)
    select ${jobRunId}, ${targetRunId}, ${segmentId}, n, 'ssh.exec', 60 from generate_series(3, 20000) n`;
  await t.sql`analyze job_run_steps`;
  await inTransaction(t.sql, async (tx) => {
    const read = async () => {
      const [row] = await tx<{ rows: number }[]>`
        select (seq_tup_read + idx_tup_fetch)::int as rows from pg_stat_xact_user_tables
        where relname = 'job_run_steps'`;
      return row?.rows ?? Number.NaN;
    };
    const before = await read();
    const locked = await lockStepsAndNext(tx, [id]);
    expect(locked.map((step) => step.stepNumber)).toEqual([1, 2]);
    expect((await read()) - before).toBeLessThan(20);
  });
});
