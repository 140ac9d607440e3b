import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeSegment } from '../../segments/testing.ts';
import { rowsRead } from '../../store/database/testing/rows-read.ts';
import { unrestricted } from '../../store/people/visibility.ts';
import { findRun } from '../../store/runs/runs.ts';
import { setupJobs, step, type TestJobs } from '../testing.ts';
import { jobStatistics } from './job-statistics.ts';
import { jobHealth, jobsHealth } from './jobs-health.ts';

let t: TestJobs;
beforeAll(async () => {
  t = await setupJobs();
});
afterAll(() => t.close());

describe('statistics of a job', () => {
  it('cover the requested days: results, success, durations, each day', async () => {
    const job = await t.create({ name: 'counted' });
    const statuses = ['failed', 'succeeded', 'succeeded', 'cancelled', 'succeeded', 'running'];
    const ids = await t.addRuns(job.id, statuses);
    await t.sql`update job_runs set created_at = now() - interval '40 days' where id = ${ids[0] ?? 0}`;
    const month = await jobStatistics(t.sql, job.id, {}, unrestricted);
    expect(month).toMatchObject({
      days: 30,
      runs: 5,
      open: 1,
      byStatus: { succeeded: 3, cancelled: 1 },
      successRate: 1,
      durations: { p50Ms: 3000, p90Ms: 5000, p99Ms: 5000, maxMs: 5000 },
      last: { id: ids[5], status: 'running' },
      isCut: false,
    });
    expect(month.byDay.reduce((sum, { runs }) => sum + runs, 0)).toBe(5);
    const year = await jobStatistics(t.sql, job.id, { days: 365 }, unrestricted);
    expect(year).toMatchObject({
      runs: 6,
      successRate: 0.75,
      byDay: [{ runs: 1, failed: 1, p50Ms: 1000 }, {}],
    });
  });

  it('count runs that ended unknown separately from failed ones', async () => {
    const job = await t.create({ name: 'cut off' });
    await t.addRuns(job.id, ['unknown', 'failed', 'timed_out', 'partial', 'unknown', 'cancelled']);
    expect((await jobStatistics(t.sql, job.id, {}, unrestricted)).byDay).toMatchObject([
      { runs: 6, succeeded: 0, failed: 3, unknown: 2 },
    ]);
  });

  it('take no durations from runs that never began', async () => {
    const job = await t.create({ name: 'never begun' });
    const ids = await t.addRuns(job.id, ['timed_out', 'succeeded', 'cancelled']);
    const unbegun = [ids[0] ?? 0, ids[2] ?? 0];
    await t.sql`update job_runs set started_at = null, execution_time_ms = 0 where id = any(${unbegun})`;
    const { runs, durations, byDay, last } = await jobStatistics(t.sql, job.id, {}, unrestricted);
    expect({ runs, durations }).toEqual({
      runs: 3,
      durations: { p50Ms: 2000, p90Ms: 2000, p99Ms: 2000, maxMs: 2000 },
    });
    expect(byDay).toMatchObject([{ runs: 3, p50Ms: 2000 }]);
    expect(last?.executionTimeMs).toBeNull();
    expect(await findRun(t.sql, ids[2] ?? 0)).toMatchObject({ executionTimeMs: null });
  });

  it('are empty for a job that never ran', async () => {
    const job = await t.create({ name: 'never ran' });
    expect(await jobStatistics(t.sql, job.id, {}, unrestricted)).toMatchObject({
      runs: 0,
      byStatus: {},
      successRate: null,
      durations: { p50Ms: null },
      last: null,
      byDay: [],
    });
  });
});

describe('the health of one job', () => {
  const kindsOf = async (id: number) =>
    (await jobHealth(t, id, unrestricted)).problems.map(({ kind }) => kind);

  it('is ok if nothing is wrong', async () => {
    const job = await t.create({ name: 'well' });
    expect(await jobHealth(t, job.id, unrestricted)).toEqual({ status: 'ok', problems: [] });
  });

  it('reports failures in a row, until a run succeeds', async () => {
    const job = await t.create({ name: 'failing' });
    await t.addRuns(job.id, ['succeeded', 'failed', 'timed_out']);
    expect(await kindsOf(job.id)).toEqual([]);
    await t.addRuns(job.id, ['failed', 'running']);
    expect(await kindsOf(job.id)).toEqual(['failing']);
    expect((await jobsHealth(t.sql, {}, unrestricted)).items).toMatchObject([
      {
        name: 'failing',
        problems: [{ kind: 'failing', message: 'Its last 3 runs all failed.' }],
      },
    ]);
    await t.addRuns(job.id, ['succeeded']);
    expect(await kindsOf(job.id)).toEqual([]);
  });

  it('reports missing credentials and step types, segments without agents, and broken rules', async () => {
    const lone = { ...step('b'), connection: { credential: 'gone' } };
    const job = await t.create({ name: 'unwell', steps: [step('a'), lone] });
    const segment = await makeSegment(t, 'empty');
    const [run = 0] = await t.addRuns(job.id, ['succeeded']);
    await t.sql`
      insert into job_run_targets (job_run_id, segment_id, target_name) values (${run}, ${segment.id}, 'web-1')`;
    await t.sql`update jobs set step_types = '{ssh.exec,carrier.pigeon}' where id = ${job.id}`;
    expect(await jobHealth(t, job.id, unrestricted)).toEqual({
      status: 'degraded',
      problems: [
        { kind: 'unknown_step_type', message: 'This server does not know the step type carrier.pigeon.' },
        {
          kind: 'unknown_credential',
          message: 'No segment has a credential named “gone”, which it asks for.',
          path: 'steps[1]',
        },
        { kind: 'segment_without_agents', message: expect.stringContaining('“empty”') },
      ],
    });
  });
});

it('unhealthy jobs are listed in pages, and only for callers who may see them', async () => {
  for (const name of ['p 1', 'p 2', 'p 3']) {
    await t.create({ name, connection: { credential: 'absent' } });
  }
  const first = await jobsHealth(t.sql, { limit: 2 }, unrestricted);
  expect(first.items.map(({ name }) => name)).toEqual(['p 1', 'p 2']);
  expect(first.problems).toContain('At least 2 active jobs name credentials that do not exist.');
  const second = await jobsHealth(t.sql, { limit: 2, cursor: first.nextCursor ?? '' }, unrestricted);
  expect(second.items.map(({ name }) => name)).toEqual(['p 3', 'unwell']);
  const blind = t.callerWith({ role: 'viewer', permission: null, scope: { kind: 'category', id: 999_999 } });
  expect(await jobsHealth(t.sql, {}, blind.authority.reach('read'))).toMatchObject({
    status: 'ok',
    jobs: 0,
    items: [],
  });
});

it('the health of jobs is judged by their current versions, however many previous ones there are', async () => {
  const job = await t.create({ name: 'often saved', connection: { credential: 'of before' } });
  await t.change(job.id, { connection: {} });
  await t.sql`
    insert into job_versions
    select made.* from job_versions v cross join generate_series(1, 5000) n
      cross join lateral jsonb_populate_record(v, jsonb_build_object('version', -n)) made
      where v.job_id = ${job.id} and v.version = 1`;
  await t.sql`analyze job_versions`;
  const { found, rows } = await rowsRead(t.sql, 'job_versions', (db) => jobsHealth(db, {}, unrestricted));
  expect(found.items.map(({ name }) => name)).not.toContain('often saved');
  expect(rows).toBeLessThan(500);
});
