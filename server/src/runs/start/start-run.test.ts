import { expect, test } from 'vitest';
import { Authority } from '../../auth/authority.ts';
import { createJob } from '../../jobs/create-job.ts';
import { changeState } from '../../jobs/life/change-state.ts';
import { saveJob } from '../../jobs/versions/save-job.ts';
import { setVersionName } from '../../jobs/versions/version-names.ts';
import { deleteJobs, lockJobAgainstRuns } from '../../store/jobs/jobs.ts';
import { unrestricted } from '../../store/people/visibility.ts';
import { blockedBackends, holdTransaction, setupRuns, type TestRuns } from '../testing.ts';
import { planStart, startRun } from './start-run.ts';

async function jobOf(t: TestRuns): Promise<number> {
  const step = { name: 'step', type: 'ssh.exec', config: { command: 'true' } };
  return (await createJob(t, { name: 'job', steps: [step] }, t.caller)).id;
}

test('a target that is deleted while its run is being started is named', async () => {
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

test('a job that is deleted while a run is being started runs no more, even if earlier runs keep it', async () => {
  await using t = await setupRuns();
  const jobId = await jobOf(t);
  const start = { jobId, selection: { targetIds: [await t.addTarget()] } };
  const { runId } = await startRun(t, start, t.caller);
  await t.sql`update job_runs set status = 'cancelled', completed_at = now() where id = ${runId}`;
  const release = await holdTransaction(t.sql, async (tx) => {
    await lockJobAgainstRuns(tx, jobId, unrestricted);
    await deleteJobs(tx, [jobId], t.caller.userId);
  });
  const refused = expect(startRun(t, start, t.caller)).rejects.toThrow(`Job ${jobId} not found.`);
  await blockedBackends(t.sql, 1);
  await release();
  await refused;
  expect(await t.sql`select id from job_runs`).toEqual([{ id: runId }]);
});

test('of more simultaneous starts than there are connections, each succeeds', async () => {
  await using t = await setupRuns();
  const request = { jobId: await jobOf(t), selection: { targetIds: [await t.addTarget()] } };
  const { max } = t.sql.options;
  const started = await Promise.all(Array.from({ length: 3 * max }, () => startRun(t, request, t.caller)));
  expect(new Set(started.map(({ runId }) => runId)).size).toBe(3 * max);
});

test('a start that is refused uses up no number', async () => {
  await using t = await setupRuns();
  const jobId = await jobOf(t);
  const targetIds = [await t.addTarget()];
  const start = async (more: { parameters?: Record<string, unknown>; targetIds?: number[] } = {}) => {
    const { parameters, ...selected } = more;
    const request = { jobId, parameters, selection: { targetIds, ...selected } };
    return (await startRun(t, request, t.caller)).runId;
  };
  const first = await start();
  await expect(start({ parameters: { unknown: 1 } })).rejects.toThrow('unknown');
  await expect(start({ targetIds: [4711] })).rejects.toThrow('Target 4711 not found.');
  await planStart(t.sql, { jobId, selection: { targetIds } }, t.caller);
  expect(await start()).toBe(first + 1);
  await expect(start({ parameters: { unknown: 1 } })).rejects.toThrow('unknown');
  // Another server's run: a later run must not have a lower number.
  const [other] = await t.sql<{ id: number }[]>`select nextval('job_runs_id_seq') as id`;
  expect(await start()).toBe((other?.id ?? 0) + 1);
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

test('the server that started a run has its data key at hand', async () => {
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

test('a claim along with a start is over when the connection is lost, even if a statement is never answered', async () => {
  await using t = await setupRuns();
  const request = { jobId: await jobOf(t), selection: { targetIds: [await t.addTarget()] } };
  const ends: boolean[] = [];
  const along = {
    // As with a statement that the driver hadn't sent yet when it lost the connection.
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

test('a run is of the version that is named, and keeps it when a channel moves', async () => {
  await using t = await setupRuns();
  const jobId = await jobOf(t);
  const steps = ['one', 'two'].map((name) => ({ name, type: 'ssh.exec', config: { command: 'true' } }));
  await saveJob(t, jobId, { definition: { name: 'job', steps }, expectedVersion: 1 }, t.caller);
  const stable = (version: number) =>
    setVersionName(t.sql, jobId, { name: 'stable', kind: 'channel', version }, t.caller);
  await stable(1);
  const selection = { targetIds: [await t.addTarget()] };
  const versionOf = async (version?: number | string) => {
    const { runId } = await startRun(t, { jobId, selection, version }, t.caller);
    const [run] = await t.sql<{ jobVersion: number; totalSteps: number }[]>`
      select job_version, total_steps from job_runs where id = ${runId}`;
    return [run?.jobVersion, run?.totalSteps];
  };
  expect(await versionOf()).toEqual([2, 2]);
  expect(await versionOf(1)).toEqual([1, 1]);
  expect(await versionOf('stable')).toEqual([1, 1]);
  await stable(2);
  expect(await versionOf('stable')).toEqual([2, 2]);
  expect(await t.sql`select from job_runs where job_version = 1`).toHaveLength(2);
  await expect(versionOf('nightly')).rejects.toMatchObject({
    code: 'invalid',
    details: [{ path: 'version' }],
  });
  await expect(versionOf(3)).rejects.toMatchObject({ code: 'invalid', details: [{ found: '3' }] });
});

test('only active jobs run; a draft and a template run for trial, for people who may edit them', async () => {
  await using t = await setupRuns();
  const selection = { targetIds: [await t.addTarget()] };
  const step = { name: 'step', type: 'ssh.exec', config: { command: 'true' } };
  const draft = await createJob(
    t,
    { definition: { name: 'draft', steps: [step] }, state: 'draft' },
    t.caller,
  );
  const template = await createJob(t, { name: 'template', template: true, steps: [step] }, t.caller);
  const operator = {
    ...t.caller,
    authority: new Authority([{ role: 'operator', permission: null, scope: null }]),
  };
  for (const { id } of [draft, template]) {
    await expect(startRun(t, { jobId: id, selection }, operator)).rejects.toMatchObject({
      code: 'forbidden',
      permission: 'jobs.edit',
    });
    const { read } = await startRun(t, { jobId: id, selection }, t.caller);
    expect(await read).toMatchObject({ isTrial: true });
  }
  await changeState(t, draft.id, { state: 'active' }, t.caller);
  const { read } = await startRun(t, { jobId: draft.id, selection }, operator);
  expect(await read).toMatchObject({ isTrial: false });
  for (const state of ['inactive', 'archived'] as const) {
    await changeState(t, draft.id, { state }, t.caller);
    await expect(startRun(t, { jobId: draft.id, selection }, t.caller)).rejects.toMatchObject({
      code: 'conflict',
      message: expect.stringContaining(`is ${state}`),
    });
  }
});
