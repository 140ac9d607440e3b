import { expect, test } from 'vitest';
import { setupRuns } from '../../../runs/testing.ts';
import { inTransaction } from '../../database/transaction.ts';
import { lockStepsAndNext } from './progress-rows.ts';

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
