// The table of each job's newest run (migrations 0016 and 0029): at every moment it must match what the runs themselves
// say.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { setupJobs, type TestJobs } from '../../jobs/testing.ts';
import { waitUntilBlocked } from '../../segments/testing.ts';
import type { Queryable } from '../database/connection.ts';

const migrations = join(import.meta.dirname, '../../../../migrations');

let t: TestJobs;
let jobs: number[];
beforeAll(async () => {
  t = await setupJobs();
});
beforeEach(async () => {
  await t.sql`delete from job_runs`;
  await t.sql`delete from jobs`;
  jobs = [];
  for (const name of ['one', 'two', 'three']) jobs.push((await t.create({ name })).id);
});
afterAll(() => t.close());

/** Returns where the table differs from the runs, both read at the same moment. */
async function untruths() {
  const rows = await t.sql`
    select * from (select distinct on (job_id) job_id, id as run_id, status from job_runs order by job_id, id desc) r
      full join job_last_runs l using (job_id)
     where (r.run_id, r.status) is distinct from (l.run_id, l.status)`;
  // The filter for jobs that never ran looks only at jobs without `has_run`.
  const missed = await t.sql`
    select id as said_to_have_run from jobs j where has_run and not exists (select from job_runs r where r.job_id = j.id)`;
  return [...rows, ...missed];
}
const last = async (jobId: number) =>
  (await t.sql`select run_id, status from job_last_runs where job_id = ${jobId}`)[0];
const job = (n: number) => jobs[n] as number;
const setStatus = (sql: Queryable, runId: number, status: string) =>
  sql`update job_runs set status = ${status}, completed_at = now() where id = ${runId}`;
const remove = (sql: Queryable, ...ids: number[]) =>
  sql`delete from job_runs where id = any(${ids}::bigint[])`;

test('a run that starts is the last one, and what becomes of it is the last result', async () => {
  expect(await last(job(0))).toBeUndefined();
  const [first, second] = (await t.addRuns(job(0), ['succeeded', 'running'])) as [number, number];
  expect(await last(job(0))).toEqual({ runId: second, status: 'running' });
  await t.sql`update job_runs set status = 'held' where id = ${second}`;
  expect(await last(job(0))).toEqual({ runId: second, status: 'held' });
  await setStatus(t.sql, second, 'succeeded');
  await remove(t.sql, first);
  expect(await last(job(0))).toEqual({ runId: second, status: 'succeeded' });
  expect(await t.sql`select id from jobs where not has_run order by id`).toEqual([
    { id: job(1) },
    { id: job(2) },
  ]);
});

test('if the last run is deleted, the previous one takes its place, if there is one', async () => {
  const ids = await t.addRuns(job(0), ['succeeded', 'failed', 'cancelled', 'failed']);
  const [other] = await t.addRuns(job(1), ['failed']);
  await remove(t.sql, ids[1] as number, ids[3] as number);
  expect(await last(job(0))).toEqual({ runId: ids[2], status: 'cancelled' });
  await remove(t.sql, ...ids, other as number);
  expect(await t.sql`select from job_last_runs`).toHaveLength(0);
  expect(await untruths()).toEqual([]);
});

test('an older run does not matter, whatever becomes of it', async () => {
  const [older, newer] = (await t.addRuns(job(0), ['running', 'succeeded'])) as [number, number];
  await setStatus(t.sql, older, 'failed');
  expect(await last(job(0))).toEqual({ runId: newer, status: 'succeeded' });
});

test('of two runs that start at the same time, the one with the higher id is the last, whichever commits first', async () => {
  await t.sql.begin(async (tx) => {
    const start = (sql: Queryable) => sql<{ id: number }[]>`
      insert into job_runs (job_id, job_version, data_key, targets_total, total_steps, start_by)
      values (${job(0)}, 1, 'x', 1, 1, now()) returning id`;
    const [lower] = await start(tx);
    const [higher] = await start(t.sql);
    expect(higher?.id).toBeGreaterThan(lower?.id ?? 0);
    expect(await last(job(0))).toEqual({ runId: higher?.id, status: 'queued' });
  });
  expect(await untruths()).toEqual([]);
});

test('the run that takes the place of a deleted one has the status that it is being given at that moment', async () => {
  const [older, newest] = (await t.addRuns(job(0), ['running', 'succeeded'])) as [number, number];
  let removal: Promise<unknown> | undefined;
  await t.sql.begin(async (tx) => {
    await setStatus(tx, older, 'failed');
    removal = remove(t.sql, newest).execute();
    await waitUntilBlocked(t, 1);
  });
  await removal;
  expect(await last(job(0))).toEqual({ runId: older, status: 'failed' });
});

test('a run that ends while the newest one is being deleted is found by its last result', async () => {
  const [older, newest] = (await t.addRuns(job(0), ['running', 'succeeded'])) as [number, number];
  let end: Promise<unknown> | undefined;
  await t.sql.begin(async (tx) => {
    await remove(tx, newest);
    end = setStatus(t.sql, older, 'failed').execute();
    await waitUntilBlocked(t, 1);
  });
  await end;
  expect(await last(job(0))).toEqual({ runId: older, status: 'failed' });
});

test('a run that starts while the newest one is being deleted is the last one', async () => {
  const [, newest] = (await t.addRuns(job(0), ['failed', 'succeeded'])) as [number, number];
  let start: Promise<number[]> | undefined;
  await t.sql.begin(async (tx) => {
    await remove(tx, newest);
    start = t.addRuns(job(0), ['queued']);
    await waitUntilBlocked(t, 1);
  });
  const [started] = (await start) ?? [];
  expect(await last(job(0))).toEqual({ runId: started, status: 'queued' });
});

test('the table is right at every moment while several clients start, end and delete runs', async () => {
  const rounds = 25;
  let working = true;
  const starter = async () => {
    for (let n = 0; n < rounds; n += 1) {
      const [id] = await t.addRuns(job(n % 3), ['running']);
      await setStatus(t.sql, id as number, n % 2 ? 'failed' : 'succeeded');
    }
  };
  const sweeper = async () => {
    while (working) {
      await t.sql`
        delete from job_runs where id in (select id from job_runs where completed_at is not null
          order by id desc limit 2 for update skip locked)`;
    }
  };
  const watcher = async () => {
    while (working) expect(await untruths()).toEqual([]);
  };
  const starters = Promise.all([starter(), starter(), starter()]).finally(() => {
    working = false;
  });
  await Promise.all([starters, sweeper(), watcher()]);
  expect(await untruths()).toEqual([]);
});

test('an upgrade fills in the last runs of jobs that ran before it', async () => {
  await t.addRuns(job(0), ['succeeded', 'failed', 'running']);
  await t.addRuns(job(2), ['unknown']);
  await t.sql`drop table job_last_runs`;
  await t.sql`drop function note_started_run, note_run_status, forget_deleted_runs cascade`;
  await t.sql.unsafe(await readFile(join(migrations, '0016_last_runs.sql'), 'utf8'));
  expect(await t.sql`select from job_last_runs`).toHaveLength(2);
  expect(await untruths()).toEqual([]);
});
