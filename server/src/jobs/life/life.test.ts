import { type JobState, jobStates, mayBecome } from '@opsconductor/protocol';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { inTransaction } from '../../store/database/transaction.ts';
import { unrestricted } from '../../store/people/visibility.ts';
import { purgeRun } from '../../store/runs/runs.ts';
import { listJobs } from '../list-jobs.ts';
import { setupJobs, type TestJobs } from '../testing.ts';
import { jobHistory } from '../versions/job-history.ts';
import { getVersion, listVersions } from '../versions/read-versions.ts';
import { saveJob } from '../versions/save-job.ts';
import { changeState } from './change-state.ts';
import { deleteJob } from './delete-job.ts';

let t: TestJobs;
beforeAll(async () => {
  t = await setupJobs();
});
afterAll(() => t.close());

const become = (id: number, state: JobState, note?: string) =>
  changeState(t, id, { state, ...(note === undefined ? {} : { note }) }, t.caller);

describe('the state of a job', () => {
  it.each(jobStates.flatMap((from) => jobStates.map((to) => [from, to] as const)))(
    'goes from %s to %s only if the table allows it',
    async (from, to) => {
      const job = await t.create({ name: `${from} to ${to}` });
      // Only in this test: bypasses the trigger that guards the table.
      await t.sql`alter table jobs disable trigger jobs_state`;
      await t.sql`update jobs set state = ${from}, is_active = ${from === 'active'} where id = ${job.id}`;
      await t.sql`alter table jobs enable trigger jobs_state`;
      if (from === to) {
        expect((await become(job.id, to, 'again')).stateNote).toBe('');
      } else if (mayBecome('job', from, to)) {
        expect(await become(job.id, to, 'why')).toMatchObject({
          state: to,
          isActive: to === 'active',
          stateNote: 'why',
        });
        const [row] = await t.sql<{ isActive: boolean }[]>`select is_active from jobs where id = ${job.id}`;
        expect(row?.isActive).toBe(to === 'active');
      } else {
        await expect(become(job.id, to)).rejects.toMatchObject({
          code: 'conflict',
          details: [{ path: 'state' }],
        });
        await expect(t.sql`update jobs set state = ${to} where id = ${job.id}`).rejects.toThrow(
          'may not become',
        );
      }
    },
  );

  it('is the one it was created with, active by default', async () => {
    expect((await t.create({ name: 'new' })).state).toBe('active');
    expect(await t.create({ name: 'first draft' }, { state: 'draft', note: 'not yet' })).toMatchObject({
      state: 'draft',
      isActive: false,
      note: 'not yet',
      nextStates: ['active', 'archived'],
    });
    await expect(t.create({ name: 'born old' }, { state: 'archived' })).rejects.toMatchObject({
      code: 'invalid',
      details: [{ path: 'state' }],
    });
  });

  it('archived keeps a job from changing, and out of lists that don’t ask for it', async () => {
    const job = await t.create({ name: 'put away' });
    await become(job.id, 'archived');
    await expect(t.change(job.id, { timeout: 5 })).rejects.toMatchObject({ code: 'conflict' });
    const names = async (query: object) =>
      (await listJobs(t.sql, { search: 'put away', ...query }, unrestricted)).items.map(({ name }) => name);
    expect(await names({})).toEqual([]);
    expect(await names({ state: 'archived,draft' })).toEqual(['put away']);
    await become(job.id, 'inactive');
    await t.change(job.id, { timeout: 5 });
  });
});

describe('deleting a job', () => {
  const rowsOf = async (id: number) => (await t.sql`select from jobs where id = ${id}`).length;

  it('that never ran leaves nothing but its audit rows', async () => {
    const job = await t.create({ name: 'never ran' });
    await deleteJob(t.sql, job.id, t.caller);
    expect(await rowsOf(job.id)).toBe(0);
    await expect(t.get(job.id)).rejects.toMatchObject({ code: 'not_found' });
    const rows =
      await t.sql`select detail from audit_log where action = 'job.deleted' and object_id = ${String(job.id)}`;
    expect(rows).toMatchObject([{ detail: { name: 'never ran', runsKept: false } }]);
  });

  it('that ran keeps its runs under its name, which is free; purging the last run removes the rest', async () => {
    const job = await t.create({ name: 'ran' });
    const [first = 0, second = 0] = await t.addRuns(job.id, ['succeeded', 'failed']);
    await deleteJob(t.sql, job.id, t.caller);
    await expect(t.get(job.id)).rejects.toMatchObject({ code: 'not_found' });
    await expect(
      saveJob(t, job.id, { definition: job.definition, expectedVersion: 1 }, t.caller),
    ).rejects.toMatchObject({ code: 'not_found' });
    expect((await listJobs(t.sql, { search: 'ran', count: true }, unrestricted)).items).toEqual([]);
    const { findRun } = await import('../../store/runs/runs.ts');
    expect(await findRun(t.sql, first)).toMatchObject({ jobName: 'ran', stepNames: ['ask'] });
    const { items } = await listVersions(t.sql, job.id, {}, unrestricted);
    expect(items).toMatchObject([{ version: 1 }]);
    const read = () => getVersion(t, job.id, '1', unrestricted);
    expect((await read()).definition).toMatchObject({ name: 'ran', steps: [{ name: 'ask' }] });
    const history = await jobHistory(t.sql, job.id, {}, unrestricted);
    expect(history.items).toMatchObject([{ kind: 'deleted', summary: 'Deleted' }, { kind: 'created' }]);
    const another = await t.create({ name: 'ran' });
    expect(another.id).not.toBe(job.id);
    await inTransaction(t.sql, (tx) => purgeRun(tx, first));
    expect(await rowsOf(job.id)).toBe(1);
    await inTransaction(t.sql, (tx) => purgeRun(tx, second));
    expect(await rowsOf(job.id)).toBe(0);
    await expect(read()).rejects.toMatchObject({ code: 'not_found' });
    expect(await rowsOf(another.id)).toBe(1);
  });

  it('with open runs is refused, naming them', async () => {
    const job = await t.create({ name: 'runs' });
    const [, open] = await t.addRuns(job.id, ['succeeded', 'running']);
    await expect(deleteJob(t.sql, job.id, t.caller)).rejects.toMatchObject({
      code: 'conflict',
      message: expect.stringContaining(`(#${open})`),
    });
    expect((await t.get(job.id)).name).toBe('runs');
  });
});
