import type { BulkJobRequest } from '@opsconductor/protocol';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { unrestricted } from '../../store/people/visibility.ts';
import { listJobs } from '../list-jobs.ts';
import { setupJobs, type TestJobs } from '../testing.ts';
import { bulkChangeJobs } from './bulk-jobs.ts';

let t: TestJobs;
beforeAll(async () => {
  t = await setupJobs();
  await t.sql`insert into categories (name) values ('night'), ('other')`;
});
afterAll(() => t.close());

const bulk = (request: BulkJobRequest) => bulkChangeJobs(t, request, t.caller);
const make = async (prefix: string, count = 3) => {
  const ids: number[] = [];
  for (let n = 1; n <= count; n += 1) ids.push((await t.create({ name: `${prefix} ${n}` })).id);
  return ids;
};
const seen = async (search: string, state = 'draft,active,inactive,archived') =>
  (await listJobs(t.sql, { search, state }, unrestricted)).items;
const auditOf = (ids: readonly number[], action: string) => t.sql<{ objectId: string; detail: object }[]>`
  select object_id, detail from audit_log where action = ${action} and object_id = any(${ids.map(String)})`;

describe('one action on many jobs', () => {
  it('changes all of them, each with its audit row; a dry run changes nothing and reports the same', async () => {
    const ids = await make('bulk');
    const request = { ids, action: 'archive', note: 'end of year' } as const;
    const dry = await bulk({ ...request, dryRun: true });
    expect(dry).toMatchObject({
      selected: 3,
      changed: 3,
      dryRun: true,
      obstacles: [],
      plan: [{ name: 'bulk 1', before: 'active', after: 'archived' }, { name: 'bulk 2' }, { name: 'bulk 3' }],
    });
    expect((await seen('bulk')).map(({ state }) => state)).toEqual(['active', 'active', 'active']);
    expect(await bulk(request)).toEqual({ ...dry, dryRun: false });
    expect((await seen('bulk')).map(({ state }) => state)).toEqual(['archived', 'archived', 'archived']);
    expect(await auditOf(ids, 'job.state_changed')).toHaveLength(3);
    expect((await t.get(ids[0] ?? 0)).stateNote).toBe('end of year');
    expect(await bulk(request)).toMatchObject({ selected: 3, changed: 0 });
  });

  it('changes none if it is impossible for one', async () => {
    const ids = await make('all or none');
    await bulk({ ids: ids.slice(0, 1), action: 'archive' });
    const request = { ids, action: 'deactivate' } as const;
    const dry = await bulk({ ...request, dryRun: true });
    expect(dry.obstacles).toMatchObject([
      { name: 'all or none 1', message: expect.stringContaining('restore') },
    ]);
    await expect(bulk(request)).rejects.toMatchObject({
      code: 'conflict',
      details: [{ found: 'all or none 1' }],
    });
    expect((await seen('all or none')).map(({ state }) => state)).toEqual(['archived', 'active', 'active']);
  });

  it('selects jobs by a filter, and those of a category with all below it', async () => {
    await make('filtered', 4);
    await bulk({ filter: { search: 'filtered' }, action: 'categorise', category: 'night' });
    expect((await seen('filtered')).map(({ category }) => category)).toEqual(Array(4).fill('night'));
    const labelled = await bulk({
      filter: { category: 'night' },
      action: 'label',
      labels: { env: 'prod', late: '' },
    });
    expect(labelled).toMatchObject({
      selected: 4,
      changed: 4,
      plan: [{ before: '', after: 'env=prod, late' }, {}, {}, {}],
    });
    expect(
      (await bulk({ filter: { label: 'env=prod,late' }, action: 'unlabel', labelNames: ['late'] })).changed,
    ).toBe(4);
    expect((await seen('filtered'))[0]?.labels).toEqual({ env: 'prod' });
  });

  it('reports a job that would have too many labels even in the dry run', async () => {
    const [full = 0, other = 0] = await make('labelled', 2);
    const sixty = Object.fromEntries(Array.from({ length: 60 }, (_, n) => [`l${n}`, '']));
    await bulk({ ids: [full], action: 'label', labels: sixty });
    const five = { l0: 'again', a: '', b: '', c: '', d: '', e: '' };
    const request: BulkJobRequest = { ids: [full, other], action: 'label', labels: five };
    const message = 'Job “labelled 1” would have 65 labels; 64 are allowed. Remove some of them first.';
    expect((await bulk({ ...request, dryRun: true })).obstacles).toEqual([
      { id: full, name: 'labelled 1', message },
    ]);
    await expect(bulk(request)).rejects.toMatchObject({ code: 'conflict', details: [{ message }] });
    expect((await seen('labelled 2'))[0]?.labels).toEqual({});
  });

  it('deletes those that ran and those that never did, unless one is running', async () => {
    const ids = await make('deleted');
    await t.addRuns(ids[0] ?? 0, ['succeeded']);
    const [open] = await t.addRuns(ids[1] ?? 0, ['queued']);
    const request = { ids, action: 'delete' } as const;
    await expect(bulk(request)).rejects.toMatchObject({
      code: 'conflict',
      message: expect.stringContaining(`#${open}`),
    });
    await t.sql`update job_runs set status = 'cancelled', completed_at = now() where id = ${open ?? 0}`;
    await bulk(request);
    expect(await seen('deleted')).toEqual([]);
    expect(await auditOf(ids, 'job.deleted')).toHaveLength(3);
  });

  it('needs the right to edit each job; others see no jobs, or are told which they may not edit', async () => {
    const ids = await make('guarded', 2);
    await bulk({ ids: ids.slice(0, 1), action: 'categorise', category: 'night' });
    const [night] = await t.sql<{ id: number }[]>`select id from categories where name = 'night'`;
    const scope = { kind: 'category', id: night?.id ?? 0 } as const;
    const edits = { role: 'author', permission: null, scope } as const;
    const reads = { role: 'viewer', permission: null, scope: null } as const;
    const request = { ids, action: 'deactivate' } as const;
    await expect(bulkChangeJobs(t, request, t.callerWith(edits))).rejects.toMatchObject({
      code: 'invalid',
      details: [{ path: 'ids[1]', found: String(ids[1]) }],
    });
    await expect(bulkChangeJobs(t, request, t.callerWith(edits, reads))).rejects.toMatchObject({
      code: 'forbidden',
      permission: 'jobs.edit',
      details: [{ found: 'guarded 2' }],
    });
    const moves = { ids: ids.slice(0, 1), action: 'categorise', category: 'other' } as const;
    await expect(bulkChangeJobs(t, moves, t.callerWith(edits))).rejects.toMatchObject({
      code: 'invalid',
    });
    expect((await seen('guarded')).map(({ state }) => state)).toEqual(['active', 'active']);
  });

  it.each<[string, object, string]>([
    ['no jobs', { action: 'archive' }, 'ids'],
    ['two kinds of selection', { action: 'archive', ids: [1], filter: {} }, 'ids'],
    ['nothing to do with', { action: 'label', ids: [1] }, 'labels'],
    ['what means nothing', { action: 'archive', ids: [1], category: 'night' }, 'category'],
    ['words that are no states', { action: 'archive', filter: { state: 'asleep' } }, 'filter.state'],
  ])('is refused with %s', async (_, request, path) => {
    await expect(bulk(request as BulkJobRequest)).rejects.toMatchObject({
      code: 'invalid',
      details: [{ path }],
    });
  });
});
