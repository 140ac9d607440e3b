// What the database itself refuses: changes of status off the edges, and changes of what never changes.
import { runStatuses, statusEdges, stepStatuses } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { setupRuns, type TestRuns } from '../../../runs/testing.ts';
import { sqlState } from '../../database/connection.ts';

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
