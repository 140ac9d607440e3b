import { expect, test } from 'vitest';
import { createJob } from '../jobs/create-job.ts';
import { startRun } from './start-run.ts';
import { blockedBackends, holdTransaction, setupRuns, type TestRuns } from './testing.ts';

async function jobOf(t: TestRuns): Promise<number> {
  const step = { name: 'step', type: 'ssh.exec', config: { command: 'true' } };
  return (await createJob(t, { name: 'job', steps: [step] }, t.caller)).id;
}

test('a target that is deleted while its run is started is named', async () => {
  await using t = await setupRuns();
  const jobId = await jobOf(t);
  const targetId = await t.addTarget();
  const release = await holdTransaction(t.sql, (tx) => tx`delete from targets where id = ${targetId}`);
  const starting = startRun(t, { jobId, selection: { targetIds: [targetId] } }, t.caller);
  const refused = expect(starting).rejects.toThrow(`Target ${targetId} not found.`);
  await blockedBackends(t.sql, 1);
  await release();
  await refused;
  expect(await t.sql`select 1 from job_runs`).toEqual([]);
});

test('a run whose audit row can’t be written is not started', async () => {
  await using t = await setupRuns();
  const jobId = await jobOf(t);
  const targetIds = [await t.addTarget()];
  await t.sql`alter table audit_log rename to away`;
  await expect(startRun(t, { jobId, selection: { targetIds } }, t.caller)).rejects.toThrow('audit_log');
  expect(await t.sql`select 1 from job_runs`).toEqual([]);
  expect(await t.claim()).toEqual([]);
});

test('whoever started a run on this server has its data key at hand', async () => {
  await using t = await setupRuns();
  const jobId = await jobOf(t);
  const kept: [number, number][] = [];
  const keys = { remember: (runId: number, key: Buffer) => kept.push([runId, key.length]) };
  const { runId } = await startRun(
    { ...t, keys },
    { jobId, selection: { targetIds: [await t.addTarget()] } },
    t.caller,
  );
  expect(kept).toEqual([[runId, 32]]);
});

test('a claim along with a start is over when the connection is lost, also where a statement is never answered', async () => {
  await using t = await setupRuns();
  const request = { jobId: await jobOf(t), selection: { targetIds: [await t.addTarget()] } };
  const ends: boolean[] = [];
  const along = {
    // As of a statement that the driver had not sent yet when it lost the connection.
    claim: async (): Promise<void> => {
      await t.sql`
        select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and xact_start is not null and pid <> pg_backend_pid()`;
      await new Promise(() => undefined);
    },
    over: (committed: boolean) => void ends.push(committed),
  };
  await expect(startRun({ ...t, claims: { claimAlong: () => along } }, request, t.caller)).rejects.toThrow();
  expect(ends).toHaveLength(1);
});
