import { type JobQuery, jobStates } from '@opsconductor/protocol';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { unrestricted } from '../store/people/visibility.ts';
import { jobCounts, jobLabels, listJobs } from './list-jobs.ts';
import { setupJobs, step, type TestJobs } from './testing.ts';

let t: TestJobs;
let patch: number;
beforeAll(async () => {
  t = await setupJobs();
  await t.sql`
    with prod as (insert into categories (name) values ('prod') returning id)
    insert into categories (name, parent_id) select 'prod/db', id from prod`;
  patch = (await t.create({ name: 'Patch hosts', category: 'prod', labels: { env: 'prod', critical: '' } }))
    .id;
  const backup = await t.create({
    name: 'Back up databases',
    description: 'Nightly dump to the 100%_vault',
    category: 'prod/db',
    labels: { env: 'prod' },
    template: true,
  });
  const check = await t.create({
    name: 'Check disks',
    labels: { env: 'test' },
    steps: [step('a'), step('b')],
  });
  await t.create(
    { name: 'Draft', steps: [{ name: 'w', type: 'winrm.exec', config: { command: 'dir' } }] },
    { state: 'draft' },
  );
  await t.addRuns(patch, ['succeeded', 'failed']);
  await t.addRuns(check.id, ['failed', 'succeeded']);
  await t.sql`update jobs set created_at = '2026-01-31T23:59:59Z', made_from_job_id = ${backup.id} where id = ${check.id}`;
});
afterAll(() => t.close());

const names = async (query: JobQuery) =>
  (await listJobs(t.sql, query, unrestricted)).items.map(({ name }) => name);

describe('the list of jobs', () => {
  it.each<[string, JobQuery, string[]]>([
    ['a part of the name, in any case', { search: 'PATCH h' }, ['Patch hosts']],
    ['a part of the description, in which nothing is special', { search: '00%_v' }, ['Back up databases']],
    ['a label with its value', { search: 'env=test' }, ['Check disks']],
    ['a category with those below it', { category: 'prod' }, ['Back up databases', 'Patch hosts']],
    ['a category at its path', { category: 'prod/db' }, ['Back up databases']],
    ['a category that is not there', { category: 'nowhere' }, []],
    ['a label', { label: 'critical' }, ['Patch hosts']],
    ['several labels', { label: 'env=prod,critical' }, ['Patch hosts']],
    ['a label with another value', { label: 'env=dev' }, []],
    ['a step type', { stepType: 'winrm.exec' }, ['Draft']],
    ['a state', { state: 'draft' }, ['Draft']],
    ['who created it, in any case', { author: 'ADA', stepType: 'winrm.exec' }, ['Draft']],
    ['somebody who created none', { author: 'nobody' }, []],
    ['the last result', { lastResult: 'failed,unknown' }, ['Patch hosts']],
    ['never having run', { lastResult: 'none' }, ['Back up databases', 'Draft']],
    ['when it was created', { createdBefore: '2026-02-01' }, ['Check disks']],
    ['when it was changed', { updatedAfter: '2999-01-01T00:00:00Z' }, []],
    ['being a template', { template: true }, ['Back up databases']],
    ['being none', { template: false, state: 'active' }, ['Check disks', 'Patch hosts']],
    [
      'all of them together',
      { search: 'patch', category: 'prod', label: 'env=prod', lastResult: 'failed', state: 'active' },
      ['Patch hosts'],
    ],
  ])('filters by %s', async (_, query, expected) => {
    expect(await names(query)).toEqual(expected);
    expect((await listJobs(t.sql, { ...query, count: true }, unrestricted)).total).toBe(expected.length);
  });

  it.each(['name', 'updated', 'lastRun'] as const)(
    'sorted by %s continues where the previous page ended',
    async (sort) => {
      const whole = await names({ sort });
      expect(whole).toHaveLength(4);
      const paged: string[] = [];
      for (let cursor: string | undefined, more = true; more; ) {
        const page = await listJobs(t.sql, { sort, limit: 1, ...(cursor && { cursor }) }, unrestricted);
        paged.push(...page.items.map(({ name }) => name));
        cursor = page.nextCursor ?? undefined;
        more = cursor !== undefined;
      }
      expect(paged).toEqual(whole);
    },
  );

  it('puts the job that ran last, or was changed last, first', async () => {
    expect((await names({ sort: 'lastRun' })).slice(0, 2)).toEqual(['Check disks', 'Patch hosts']);
    await t.change(patch, { timeout: 77 });
    expect((await names({ sort: 'updated' }))[0]).toBe('Patch hosts');
  });

  it.each<[JobQuery, string]>([
    [{ state: 'active,asleep' }, 'query.state'],
    [{ lastResult: 'fine' }, 'query.lastResult'],
    [{ createdAfter: 'yesterday' }, 'query.createdAfter'],
    [{ updatedBefore: '2026-13-01' }, 'query.updatedBefore'],
    [{ cursor: 'eyJ4Ijoxfqo', sort: 'updated' }, 'query.cursor'],
  ])('refuses %j', async (query, path) => {
    await expect(listJobs(t.sql, query, unrestricted)).rejects.toMatchObject({
      code: 'invalid',
      details: [{ path }],
    });
  });

  it('counts them by state, last result and category, archived ones only by state', async () => {
    const counts = await jobCounts(t.sql, unrestricted);
    const kinds = (await listJobs(t.sql, { state: jobStates.join(',') }, unrestricted)).items;
    expect(kinds.length).toBeGreaterThan(3);
    for (const { state, jobs } of counts.states) {
      expect([state, jobs]).toEqual([state, kinds.filter((job) => job.state === state).length]);
    }
    for (const { lastResult, jobs } of counts.lastResults) {
      const { total } = await listJobs(t.sql, { lastResult, count: true }, unrestricted);
      expect([lastResult, jobs]).toEqual([lastResult, total]);
    }
    const shown = kinds.filter(({ state }) => state !== 'archived');
    expect(counts.total).toBe(shown.length);
    expect(counts.templates).toBe(shown.filter(({ isTemplate }) => isTemplate).length);
    for (const { category, jobs } of counts.categories) {
      expect([category, jobs]).toEqual([category, shown.filter((job) => job.category === category).length]);
    }
    expect(counts.categories.reduce((sum, { jobs }) => sum + jobs, 0)).toBe(counts.total);
  });

  it('lists the labels in use', async () => {
    expect((await jobLabels(t.sql, unrestricted)).items).toEqual([
      { name: 'critical', jobs: 1, values: [] },
      { name: 'env', jobs: 3, values: ['prod', 'test'] },
    ]);
  });
});
