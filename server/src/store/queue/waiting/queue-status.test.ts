import { afterAll, beforeAll, expect, test } from 'vitest';
import { endOf, setupRuns, type TestRuns } from '../../../runs/testing.ts';
import type { Queryable } from '../../database/connection.ts';
import { rowsRead } from '../../database/testing/rows-read.ts';
import { unrestricted } from '../../people/visibility.ts';
import { oldestReadyMs, segmentQueues } from './queue-status.ts';

const runs = 50;
const stepsEach = 200;
const endedRuns = 2_000;

let t: TestRuns;
beforeAll(async () => {
  t = await setupRuns();
});
afterAll(() => t[Symbol.asyncDispose]());

test('the oldest run with a ready step is found by reading each ready step about once, though the database knows of none', async () => {
  const endedId = await t.start();
  await t.settle(...(await t.claim()).map((lease) => endOf(lease)));
  await t.sql`alter table job_runs disable trigger job_runs_started`;
  await t.sql`
    insert into job_runs overriding system value
    select made.* from job_runs r cross join generate_series(1, ${endedRuns}) n
    cross join lateral jsonb_populate_record(r, jsonb_build_object('id', -n)) made
    where r.id = ${endedId}`;
  await t.sql`
    with placed as (
      insert into job_run_targets (job_run_id, segment_id, target_name, status)
      select -n, ${t.segmentId}, 'host', 'succeeded' from generate_series(1, ${endedRuns}) n returning id, job_run_id)
    insert into job_run_steps (job_run_id, target_run_id, segment_id, step_number, step_type, time_budget_s, status)
    select job_run_id, id, ${t.segmentId}, s, 'ssh.exec', 70, 'succeeded' from placed, generate_series(1, 2) s`;
  await t.sql`vacuum analyze`;
  const runId = await t.start();
  await t.sql`update job_runs set created_at = now() - interval '1 hour' where id = ${runId}`;
  await t.sql`
    insert into job_runs overriding system value
    select made.* from job_runs r cross join generate_series(1, ${runs}) n
    cross join lateral jsonb_populate_record(r, jsonb_build_object('id', 1000 + n, 'created_at', now())) made
    where r.id = ${runId}`;
  await t.sql`
    with placed as (
      insert into job_run_targets (job_run_id, segment_id, target_name)
      select 1000 + n, ${t.segmentId}, 'host' from generate_series(1, ${runs}) n,
        generate_series(1, ${stepsEach}) returning id, job_run_id)
    insert into job_run_steps (job_run_id, target_run_id, segment_id, step_number, step_type, time_budget_s, status)
    select job_run_id, id, ${t.segmentId}, 1, 'ssh.exec', 70, 'ready' from placed`;
  const { rows, found } = await rowsRead(t.sql, 'job_run_steps', (db) => oldestReadyMs(db, unrestricted));
  expect(Math.round((found ?? 0) / 60_000)).toBe(60);
  expect(rows).toBeLessThan(3 * runs * stepsEach);
});

test('since when a segment has been stuck is found by looking at each run once, and at each ready step about twice', async () => {
  await t.sql`update agent_sessions set draining = true`;
  const [oldest] = await t.sql<
    { at: Date }[]
  >`select min(created_at) as at from job_runs where status = 'queued'`;
  const queues = (db: Queryable) => segmentQueues(db, unrestricted);
  const { rows, found } = await rowsRead(t.sql, 'job_runs', queues);
  expect(found[0]).toMatchObject({ ready: 1 + runs * stepsEach, stuckSince: oldest?.at });
  expect(rows).toBeLessThan(3 * runs);
  expect((await rowsRead(t.sql, 'job_run_steps', queues)).rows).toBeLessThan(3 * runs * stepsEach);
});
