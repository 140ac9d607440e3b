import { afterEach, expect, test, vi } from 'vitest';
import { createLog } from '../../log.ts';
import { makeOutputPartitions } from '../../store/runs/run-output.ts';
import {
  blockedBackends,
  endOf,
  holdTransaction,
  setupRuns,
  type TestRuns,
  testServerId,
} from '../testing.ts';
import { Housekeeper, type HousekeeperDeps } from './housekeeper.ts';
import { Sweeper } from './sweeper.ts';

async function setup(retention?: HousekeeperDeps['retention']) {
  const t = await setupRuns();
  const log = createLog({ level: 'silent', plain: false });
  const errors: string[] = [];
  const warnings: string[] = [];
  log.error = (_: object, message?: string) => void errors.push(message ?? '');
  log.warn = (_: object, message?: string) => void warnings.push(message ?? '');
  // The template may be from yesterday.
  await t.sql`update cluster_clock set touched_at = clock_timestamp()`;
  await makeOutputPartitions(t.sql);
  const another = () => new Housekeeper({ sql: t.sql, log, retention });
  const housekeeper = another();
  const sweeper = new Sweeper({ sql: t.sql, serverId: testServerId, log, publish: () => {} });
  return Object.assign(t, { housekeeper, another, sweeper, errors, warnings });
}

afterEach(() => void vi.useRealTimers());

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;

async function partitions({ sql }: TestRuns): Promise<string[]> {
  const rows = await sql<{ name: string }[]>`
    select inhrelid::regclass::text as name from pg_inherits where inhparent = 'run_output'::regclass order by 1`;
  return rows.map(({ name }) => name);
}

/** Makes a file whose last piece arrived this many hours ago. */
async function unfinishedFile({ sql }: TestRuns, hours: number): Promise<void> {
  const [file] = await sql`
    insert into files (id, name, category_id) select gen_random_uuid(), 'unfinished', min(id) from categories returning id`;
  await sql`
    insert into contents (id, file_id, size, data_key, touched_at)
    values (${file?.id}, ${file?.id}, 1, 'k', clock_timestamp() - make_interval(hours => ${hours}))`;
}

/** Makes a run that ended this many days ago, by the database's clock. */
async function endedRun(t: TestRuns, days: number): Promise<number> {
  const id = await t.start();
  await t.settle(endOf(await t.claimOne()));
  await t.sql`update job_runs set completed_at = clock_timestamp() - make_interval(days => ${days}) where id = ${id}`;
  return id;
}

const isThere = async (t: TestRuns, runId: number) =>
  (await t.sql`select from job_runs where id = ${runId}`).length > 0;

test('partitions for the days to come are made in time, and expired data is removed', async () => {
  await using t = await setup({ outputDays: 2, runDays: 30, fileDays: 30 });
  const runId = await t.start();
  const lease = await t.claimOne();
  await t.settle(endOf(lease));
  const old = await t.start();
  await t.settle(endOf(await t.claimOne()));
  await t.sql`update job_runs set completed_at = completed_at - interval '40 days' where id = ${old}`;
  const before = await partitions(t);
  for (const day of before.slice(-2)) await t.sql`drop table ${t.sql(day)}`;
  await t.sql`create table run_output_20200102 partition of run_output for values from ('2020-01-02') to ('2020-01-03')`;
  await t.sql`insert into users (name) values ('ann')`;
  for (const [name, in_] of [
    ['over', '-1 minute'],
    ['open', '1 hour'],
  ] as const) {
    const expiresAt = t.sql`now() + ${in_}::interval`;
    await t.sql`insert into sign_in_codes select sha256(${name}), id, ${expiresAt} from users where name = 'ann'`;
    await t.sql`
      insert into sessions (user_id, token_hash, expires_at, address)
      select id, sha256(${name}), ${expiresAt}, ${name} from users where name = 'ann'`;
  }
  await t.sql`insert into agent_asks (id, segment_id, request, asked_at) select gen_random_uuid(), ${t.segmentId},
    '{}', clock_timestamp() - make_interval(mins => minutes) from unnest(array[1, 11]) minutes`;
  await t.sql`insert into locks (lock_key, used_at) values ('over', now() - interval '41 days'), ('used', now())`;
  await t.sql`insert into detached_attempts (job_run_step_id, epoch, orphaned_at) values (${lease.id}, 1, now())`;
  for (const [name, sha256] of [
    ['unfinished', null],
    ['unused', Buffer.alloc(32)],
  ] as const) {
    const [file] = await t.sql`
      insert into files (id, name, category_id, created_at)
      select gen_random_uuid(), ${name}, min(id), now() - interval '40 days' from categories returning id`;
    await t.sql`
      insert into contents (id, file_id, size, sha256, data_key, touched_at)
      values (${file?.id}, ${file?.id}, 0, ${sha256}, 'k', now() - interval '40 days')`;
  }
  await t.sql`insert into content_bytes (bytes) values (3), (4)`;

  await t.housekeeper.round();
  expect(t.errors).toEqual([]);
  expect(await partitions(t)).toEqual(before);
  const names = (of: string) => t.sql.unsafe(of).then((rows) => rows.map(({ name }) => name));
  expect(await names('select id as name from job_runs')).toEqual([runId]);
  expect(await names('select address as name from sessions')).toEqual(['open']);
  expect(await t.sql`select from sign_in_codes`).toHaveLength(1);
  expect(await t.sql`select from agent_asks`).toHaveLength(1);
  expect(await names(`select lock_key as name from locks where lock_key in ('over', 'used')`)).toEqual([
    'used',
  ]);
  expect(await names('select orphaned_at as name from detached_attempts')).toEqual([null]);
  expect(await names('select name from files')).toEqual([]);
  expect(await t.sql`select from content_bytes where bytes in (3, 4)`).toHaveLength(0);
  expect(await t.sql`select sum(bytes)::int as sum from content_bytes`).toEqual([{ sum: 7 }]);
});

test('while old runs are being removed, however long that takes, the sweep goes on', async () => {
  await using t = await setup({ outputDays: undefined, runDays: 30 });
  const oldId = await t.start();
  await t.settle(endOf(await t.claimOne()));
  await t.sql`update job_runs set completed_at = completed_at - interval '40 days' where id = ${oldId}`;
  const runId = await t.start();
  await t.claimOne();
  const stepIsFree = await holdTransaction(
    t.sql,
    (tx) => tx`select from job_run_steps where job_run_id = ${oldId} for update`,
  );
  t.housekeeper.start();
  t.sweeper.start();
  await blockedBackends(t.sql, 1);
  const statusOfSilent = async () => {
    // A sweep that comes more than 5 s after the one before it extends leases and ends nothing.
    await t.sql`
      update agent_sessions set last_heartbeat_at = clock_timestamp() - interval '301 s',
        expires_at = clock_timestamp() - interval '281 s'`;
    return (await t.run(runId)).status;
  };
  await expect.poll(statusOfSilent, { timeout: 20_000 }).toBe('unknown');
  await stepIsFree();
  await expect
    .poll(() => t.sql`select from job_runs where id = ${oldId}`, { timeout: 20_000 })
    .toHaveLength(0);
  await Promise.all([t.housekeeper.stop(), t.sweeper.stop()]);
  expect(t.errors).toEqual([]);
});

test('a server that stops leaves the remaining removals for the next time', async () => {
  await using t = await setup({ outputDays: undefined, runDays: 30 });
  const oldId = await t.start({ targets: 2 });
  await t.settle(...(await t.claim()).map((lease) => endOf(lease)));
  await t.sql`
    insert into job_runs (job_id, job_version, status, completed_at, start_by, data_key, targets_total, total_steps)
    select job_id, job_version, status, completed_at, start_by, data_key, 0, 5000 from job_runs, generate_series(1, 2)`;
  await t.sql`update job_runs set completed_at = completed_at - id * interval '1 s' - interval '40 days'`;
  const runIsFree = await holdTransaction(t.sql, (tx) => tx`lock table job_run_targets in share mode`);
  const round = t.housekeeper.round();
  await blockedBackends(t.sql, 1);
  const stopped = t.housekeeper.stop();
  await runIsFree();
  await Promise.all([round, stopped]);
  // Each of them is as large as a batch: the batch that was in progress is gone.
  expect(await t.sql`select from job_runs where id <> ${oldId}`).toHaveLength(1);
  expect(t.errors).toEqual([]);
});

test('a server that stops waits for one batch of old files', async () => {
  await using t = await setup({ outputDays: undefined, runDays: undefined, fileDays: 30 });
  await t.sql`
    insert into files (id, name, category_id, created_at)
    select gen_random_uuid(), 'unused-' || n, min(id), now() - interval '40 days'
    from categories, generate_series(1, 41) n group by n`;
  await t.sql`
    insert into contents (id, file_id, size, sha256, data_key, touched_at)
    select id, id, 0, ${Buffer.alloc(32)}, 'k', created_at from files`;
  const filesAreFree = await holdTransaction(t.sql, (tx) => tx`lock table contents in share mode`);
  const round = t.housekeeper.round();
  await blockedBackends(t.sql, 1);
  const stopped = t.housekeeper.stop();
  await filesAreFree();
  await Promise.all([round, stopped]);
  expect(await t.sql`select from files`).toHaveLength(21);
  expect(t.errors).toEqual([]);
});

test('something that can’t be removed doesn’t keep anything else from being removed', async () => {
  await using t = await setup({ outputDays: undefined, runDays: 30 });
  const oldId = await t.start();
  await t.settle(endOf(await t.claimOne()));
  await t.sql`update job_runs set completed_at = completed_at - interval '40 days' where id = ${oldId}`;
  await t.sql`create function refuse_row() returns trigger language plpgsql as $$
    begin raise exception 'this row can not be deleted'; end $$`;
  await t.sql`create trigger refuse before delete on sessions execute function refuse_row()`;
  await t.housekeeper.round();
  expect(await t.sql`select from job_runs where id = ${oldId}`).toHaveLength(0);
  expect(t.errors).toEqual(['removing old and unused data failed; this is retried in an hour']);
});

test('removal goes by the database’s clock: a server whose own clock is a year ahead removes nothing early', async () => {
  await using t = await setup({ outputDays: 90, runDays: 365 });
  const runId = await endedRun(t, 1);
  await t.sql`select make_output_partitions(current_date - 30, 16)`;
  const before = await partitions(t);
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 366 * dayMs });
  await t.housekeeper.round();
  expect(await isThere(t, runId)).toBe(true);
  expect(await partitions(t)).toEqual(before);
  expect(t.errors).toEqual([]);
});

test('after the clock has jumped ahead by more than a day, nothing is removed for a day', async () => {
  await using t = await setup({ outputDays: 90, runDays: 365 });
  const runId = await endedRun(t, 400);
  await unfinishedFile(t, 26);
  await t.sql`select make_output_partitions(current_date - 130, 16)`;
  const before = await partitions(t);
  await t.sql`update cluster_clock set touched_at = clock_timestamp() - interval '25 hours'`;
  // Whether or not there was a sweep since.
  await t.housekeeper.round();
  await t.sweeper.sweep();
  await t.another().round();
  await t.sql`update cluster_clock set leapt_at = leapt_at - interval '23 hours'`;
  await t.another().round();
  expect(await isThere(t, runId)).toBe(true);
  expect(await t.sql`select from files`).toHaveLength(1);
  expect(await partitions(t)).toEqual(before);
  expect(t.warnings).toEqual(Array(3).fill(expect.stringContaining('the clock')));
  await t.sql`update cluster_clock set leapt_at = leapt_at - interval '2 hours'`;
  await t.another().round();
  expect(await isThere(t, runId)).toBe(false);
  expect(await t.sql`select from files`).toHaveLength(0);
  expect(await partitions(t)).toEqual(before.slice(16));
});

test('a clock that was ahead and was corrected doesn’t keep anything from being removed', async () => {
  await using t = await setup({ outputDays: 90, runDays: 365 });
  const runId = await endedRun(t, 400);
  await t.sql`update cluster_clock set leapt_at = clock_timestamp() + interval '1 year'`;
  await t.housekeeper.round();
  expect(await isThere(t, runId)).toBe(false);
});

test('output is kept again after a clock that was ahead had it removed up to future days', async () => {
  vi.useFakeTimers({ toFake: ['performance'] });
  await using t = await setup({ outputDays: 90, runDays: undefined });
  // Midnight may come at any time.
  const [today] = await t.sql<[{ day: string }]>`select (now() at time zone 'UTC')::date::text as day`;
  await t.sql`select make_output_partitions(${today.day}::date - 20, 16)`;
  const before = await partitions(t);
  await t.sql`update output_retention set kept_from = ${today.day}::date + 275`;
  const keptDays = async () =>
    (await t.sql`select ${today.day}::date - kept_from as days from output_retention`)[0]?.days;
  await t.housekeeper.round();
  // The clock may be behind, like that of a machine that has just started.
  expect(await keptDays()).toBe(-275);
  expect(await partitions(t)).toEqual(expect.arrayContaining(before));
  vi.advanceTimersByTime(hourMs);
  await t.housekeeper.round();
  // What is still there of it is not removed because of that.
  expect(await keptDays()).toBe(20);
  vi.advanceTimersByTime(hourMs);
  await t.housekeeper.round();
  expect(await partitions(t)).toEqual(expect.arrayContaining(before));
});

test('after the server’s clock was set back, partitions are made and old runs removed as before', async () => {
  vi.useFakeTimers({ toFake: ['Date', 'performance'] });
  await using t = await setup({ outputDays: undefined, runDays: 365 });
  await t.housekeeper.round();
  const runId = await endedRun(t, 400);
  const before = await partitions(t);
  await t.sql`drop table ${t.sql(before.at(-1) ?? '')}`;
  vi.setSystemTime(Date.now() - 40 * dayMs);
  await t.housekeeper.round();
  expect(await partitions(t)).toHaveLength(before.length - 1);
  vi.advanceTimersByTime(60_000);
  await t.housekeeper.round();
  expect(await partitions(t)).toEqual(before);
  expect(await isThere(t, runId)).toBe(true);
  vi.advanceTimersByTime(hourMs);
  await t.housekeeper.round();
  expect(await isThere(t, runId)).toBe(false);
});
