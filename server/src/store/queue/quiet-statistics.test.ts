// What the queue reads when its statistics are from a moment in which nothing ran. Then the indexes of running steps
// are said to be empty, and an empty index is the cheapest one to read whole.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { endOf, growRun, setupRuns, success, type TestRuns } from '../../runs/testing.ts';
import { connectQueue, type Sql } from '../database/connection.ts';
import { setupDatabase } from '../database/testing.ts';
import { inTransaction } from '../database/transaction.ts';
import { lockStepsAndNext } from '../runs/progress/progress-rows.ts';
import { overdueAttempts } from './sweep/sweep.ts';

const hosts = 400;
let t: TestRuns;
let queue: Sql;
let ids: number[];
beforeAll(async () => {
  t = await setupRuns(setupDatabase());
  queue = connectQueue(t.sql, { max: 1 });
  // Much has run before, so that the indexes have pages.
  const before = await t.start();
  await growRun(t.sql, before, 8 * hosts);
  await lease(before);
  await t.sql`delete from job_runs where id = ${before}`;
  const ended = await t.start();
  await t.settle(endOf(await t.claimOne(), success));
  await growRun(t.sql, ended, 40 * hosts);
  const runId = await t.start();
  await growRun(t.sql, runId, hosts);
  await t.sql.unsafe('vacuum analyze job_run_steps');
  ids = await lease(runId);
});
afterAll(async () => {
  await queue.end();
  await t[Symbol.asyncDispose]();
});

async function lease(runId: number): Promise<number[]> {
  const running = await t.sql<{ id: number }[]>`
    update job_run_steps set status = 'running', epoch = 1, lease_token = id::text, agent_id = ${t.agent.agentId},
      session_number = ${t.agent.sessionNumber}, leased_at = clock_timestamp(),
      deadline_at = clock_timestamp() - interval '1 hour'
    where job_run_id = ${runId} returning id`;
  return running.map(({ id }) => id);
}

/** Returns how many entries of the indexes of running steps the work reads. */
async function entriesRead(work: () => Promise<unknown>): Promise<number> {
  const read = async () => {
    await queue`select pg_stat_force_next_flush()`;
    const [row] = await t.sql<{ read: number }[]>`
      select sum(idx_tup_read)::bigint as read from pg_stat_user_indexes
       where indexrelname in ('job_run_steps_running', 'job_run_steps_in_flight')`;
    return row?.read ?? 0;
  };
  const before = await read();
  await work();
  return (await read()) - before;
}

test('the steps that end together are each looked up by their target run', async () => {
  expect(ids).toHaveLength(hosts);
  const read = await entriesRead(() => inTransaction(queue, (tx) => lockStepsAndNext(tx, ids)));
  expect(read).toBeGreaterThan(0);
  expect(read).toBeLessThan(hosts * 4);
});

test('the sweep reads what runs about once', async () => {
  const read = await entriesRead(() => overdueAttempts(queue, 60));
  expect(read).toBeGreaterThan(0);
  expect(read).toBeLessThan(hosts * 4);
});

test('the index by agent is only for those who ask for the steps of an agent', async () => {
  const isUsedFor = async (condition: string) => {
    const rows = await queue.unsafe(
      `explain select id from job_run_steps where status = 'running' and ${condition}`,
    );
    return JSON.stringify(rows).includes('job_run_steps_running');
  };
  // Then there is no other for what runs.
  await t.sql`drop index job_run_steps_in_flight`;
  expect(await isUsedFor('agent_id = 1')).toBe(true);
  expect(await isUsedFor('target_run_id = 1')).toBe(false);
  expect(await isUsedFor('segment_id = 1')).toBe(false);
});
