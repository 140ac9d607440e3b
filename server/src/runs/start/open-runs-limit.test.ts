import { expect, test } from 'vitest';
import { createJob } from '../../jobs/create-job.ts';
import { saveJob } from '../../jobs/versions/save-job.ts';
import { blockedBackends, holdTransaction, setupRuns, type TestRuns } from '../testing.ts';
import { rerun } from './rerun.ts';
import { startOnce } from './start-once.ts';
import { startRun } from './start-run.ts';

const steps = [{ name: 'step', type: 'ssh.exec' as const, config: { command: 'true' } }];

async function jobOf(t: TestRuns, maxOpenRuns?: number) {
  const limit = maxOpenRuns === undefined ? {} : { max_open_runs: maxOpenRuns };
  const { id: jobId } = await createJob(t, { name: `job ${maxOpenRuns}`, ...limit, steps }, t.caller);
  const targetIds = [await t.addTarget()];
  return { jobId, start: () => startRun(t, { jobId, selection: { targetIds } }, t.caller) };
}

async function end(t: TestRuns, runId: number): Promise<void> {
  await t.sql`update job_run_targets set status = 'failed', completed_at = now() where job_run_id = ${runId}`;
  await t.sql`update job_runs set status = 'failed', completed_at = now() where id = ${runId}`;
}

test('a start beyond the job’s limit is refused and names the open run, until that one has ended', async () => {
  await using t = await setupRuns();
  const { start } = await jobOf(t, 1);
  const { runId } = await start();
  for (const status of ['queued', 'running', 'held', 'cancelling']) {
    await t.sql`update job_runs set status = ${status} where id = ${runId} and status <> ${status}`;
    await expect(start()).rejects.toMatchObject({
      code: 'conflict',
      message: expect.stringContaining(`run ${runId} is open: wait for its end, or cancel it`),
    });
  }
  expect(await t.sql`select id from job_runs`).toEqual([{ id: runId }]);
  await end(t, runId);
  expect((await start()).runId).not.toBe(runId);
});

test('several may be open if the job says so, and they are named when there are too many', async () => {
  await using t = await setupRuns();
  const { start } = await jobOf(t, 2);
  const [one, two] = [await start(), await start()];
  await expect(start()).rejects.toThrow(
    `2 open runs at a time (max_open_runs), and these are open: ${one.runId}, ${two.runId}.`,
  );
});

test('runs of other versions count, and so do runs again', async () => {
  await using t = await setupRuns();
  const { jobId, start } = await jobOf(t, 1);
  const { runId } = await start();
  const changed = { name: 'job 1', max_open_runs: 1, steps, timeout: 60 };
  await saveJob(t, jobId, { definition: changed, expectedVersion: 1 }, t.caller);
  await expect(start()).rejects.toThrow(`run ${runId} is open`);
  await end(t, runId);
  const again = () =>
    rerun(t.sql, runId, { which: 'failed' }, t.caller, (request) => startRun(t, request, t.caller));
  const { runId: second } = await again();
  await expect(again()).rejects.toThrow(`run ${second} is open`);
});

test('of two starts that look for room before either has written its run, one is refused', async () => {
  await using t = await setupRuns();
  const { start } = await jobOf(t, 1);
  const release = await holdTransaction(t.sql, (tx) => tx`lock table job_run_targets in exclusive mode`);
  const starting = Promise.allSettled([start(), start()]);
  await blockedBackends(t.sql, 2);
  await release();
  const ends = await starting;
  expect(ends.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
  expect(ends.find(({ status }) => status === 'rejected')).toMatchObject({ reason: { code: 'conflict' } });
  expect(await t.sql`select count(*)::integer from job_runs`).toEqual([{ count: 1 }]);
});

test('a request that is sent twice at once starts one run and is answered with it twice', async () => {
  await using t = await setupRuns();
  const { jobId } = await jobOf(t, 1);
  const targetIds = [await t.addTarget()];
  const requested = { key: Buffer.alloc(32, 1), asked: '[]' };
  const start = () =>
    startOnce(t, requested, t.caller, () =>
      startRun(t, { jobId, selection: { targetIds }, requested }, t.caller),
    );
  const [one, two] = await Promise.all([start(), start()]);
  expect(one.runId).toBe(two.runId);
  expect([one.isRepeated, two.isRepeated].sort()).toEqual([false, true]);
});

test('a job without a limit has as many open runs as are started', async () => {
  await using t = await setupRuns();
  const { start } = await jobOf(t);
  const started = await Promise.all(Array.from({ length: 6 }, start));
  expect(new Set(started.map(({ runId }) => runId)).size).toBe(6);
});
