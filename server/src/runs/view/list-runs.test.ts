// The list of runs across jobs, on a real database: each filter by itself and with others, in pages in both orders.
import type { RunQuery } from '@opsconductor/protocol';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Authority } from '../../auth/authority.ts';
import { listingWithin, TookTooLong } from '../../store/runs/lists/run-lists.ts';
import { setupRuns, type TestRuns } from '../testing.ts';
import { listRuns } from './list-runs.ts';

let t: TestRuns;
/** The runs by the names that the tests use. */
let runs: Record<'patch' | 'patchAgain' | 'report' | 'restart', number>;
const everything = new Authority([{ role: 'viewer', permission: null, scope: null }]);

beforeAll(async () => {
  t = await setupRuns();
  const [top] = await t.sql<{ id: number }[]>`
    insert into categories (name) values ('ops') returning id`;
  await t.sql`insert into categories (name, parent_id) values ('ops/patching', ${top?.id ?? 0})`;
  const patch = await t.start({ job: { name: 'Patch web_tier', category: 'ops/patching' }, targets: 2 });
  const [{ targetId = 0 } = {}] = await t.sql<{ targetId: number }[]>`
    select target_id from job_run_targets where job_run_id = ${patch} limit 1`;
  runs = {
    patch,
    patchAgain: await t.start({
      job: { name: 'Patch database', category: 'ops/patching' },
      targetIds: [targetId],
    }),
    report: await t.start({ job: { name: 'Report', category: 'ops' } }),
    restart: await t.start({ job: { name: 'Restart' } }),
  };
  await t.sql`update job_run_targets set target_name = 'Web-01' where job_run_id = ${patch} and target_id = ${targetId}`;
  await t.sql`update job_runs set version_ref = 'stable', created_at = '2026-01-10T10:00:00Z' where id = ${patch}`;
  const [other] = await t.sql<{ id: number }[]>`
    insert into users (name) values ('Nina') returning id`;
  await t.sql`update job_runs set created_by = ${other?.id ?? 0} where id = ${runs.report}`;
});
afterAll(() => t[Symbol.asyncDispose]());

const list = async (query: RunQuery, authority = everything) => {
  const page = await listRuns(t.sql, query, authority);
  return page.items.map(({ id }) => Object.entries(runs).find(([, run]) => run === id)?.[0]);
};

describe('runs are found', () => {
  test.each<[string, RunQuery, string[]]>([
    ['by part of the job’s name, whatever its case', { search: 'PATCH' }, ['patchAgain', 'patch']],
    ['by a name with a wildcard of the database in it', { search: 'b_t' }, ['patch']],
    ['in a category with those below it', { category: 'ops' }, ['report', 'patchAgain', 'patch']],
    ['in a category below', { category: 'ops/patching' }, ['patchAgain', 'patch']],
    ['by who started them', { createdBy: 'nina' }, ['report']],
    ['by part of the name of a target', { target: 'web-0' }, ['patch']],
    ['by the name their version was asked for', { version: 'stable' }, ['patch']],
    ['by the number of their version', { version: '2' }, []],
    ['up to a day', { createdBefore: '2026-01-11' }, ['patch']],
    ['from a time on', { createdAfter: '2026-01-10T10:00:01Z', search: 'patch' }, ['patchAgain']],
    ['from the oldest on', { sort: 'oldest', category: 'ops' }, ['patch', 'patchAgain', 'report']],
  ])('%s', async (_, query, expected) => {
    expect(await list(query)).toEqual(expected);
    expect((await listRuns(t.sql, { ...query, count: true, limit: 1 }, everything)).total).toBe(
      expected.length,
    );
  });
});

test.each(['newest', 'oldest'] as const)('pages from the %s on give each run once', async (sort) => {
  const seen: number[] = [];
  for (let cursor: string | undefined; ; ) {
    const page = await listRuns(
      t.sql,
      { sort, limit: 1, ...(cursor === undefined ? {} : { cursor }) },
      everything,
    );
    seen.push(...page.items.map(({ id }) => id));
    if (page.nextCursor === null) break;
    cursor = page.nextCursor;
  }
  const all = Object.values(runs).toSorted((a, b) => a - b);
  expect(seen).toEqual(sort === 'oldest' ? all : all.toReversed());
});

test('no filter finds, and no count includes, what its reader may not see', async () => {
  const [{ id = 0 } = {}] = await t.sql<
    { id: number }[]
  >`select id from categories where name = 'ops/patching'`;
  const reader = new Authority([{ role: 'viewer', permission: null, scope: { kind: 'category', id } }]);
  expect(await list({}, reader)).toEqual(['patchAgain', 'patch']);
  expect((await listRuns(t.sql, { count: true }, reader)).total).toBe(2);
  expect(await list({ search: 'Report' }, reader)).toEqual([]);
  expect(await list({ createdBy: 'Nina' }, reader)).toEqual([]);
  // The status of parts isn't known before they are read.
  expect((await listRuns(t.sql, { count: true, status: 'queued' }, reader)).total).toBeUndefined();
});

test('only who sees a whole run finds it by the name that its version was asked for, as only they are shown it', async () => {
  const targetIds = (
    await t.sql<{ targetId: number }[]>`
      select target_id from job_run_targets where job_run_id = ${runs.patch} order by id`
  ).map(({ targetId }) => targetId);
  const readerOf = async (members: readonly number[]) => {
    const [group] = await t.sql<{ id: number }[]>`
      insert into target_groups (name) values (${`of ${members.length}`}) returning id`;
    const id = group?.id ?? 0;
    for (const member of members)
      await t.sql`insert into target_group_members (target_group_id, target_id) values (${id}, ${member})`;
    return new Authority([{ role: 'viewer', permission: null, scope: { kind: 'target_group', id } }]);
  };
  const ofPart = await readerOf(targetIds.slice(0, 1));
  const ofAll = await readerOf(targetIds);
  expect(await list({}, ofPart)).toContain('patch');
  expect(await list({ version: '1' }, ofPart)).toContain('patch');
  expect(await list({ version: 'stable' }, ofPart)).toEqual([]);
  expect((await listRuns(t.sql, { version: 'stable', count: true }, ofPart)).total).toBe(0);
  expect(await list({ version: 'stable' }, ofAll)).toEqual(['patch']);
});

test('an invalid time or status is refused, naming the field', async () => {
  for (const [query, path] of [
    [{ createdAfter: 'yesterday' }, 'query.createdAfter'],
    [{ status: 'lost' }, 'query.status'],
  ] as const)
    await expect(listRuns(t.sql, query, everything)).rejects.toMatchObject({
      code: 'invalid',
      details: [{ path }],
    });
});

test('a search that takes too long is refused, however many statements it takes', async () => {
  const together = listingWithin(t.sql, 200, async (db, goOn) => {
    for (let statements = 0; statements < 4; statements += 1) {
      await db`select pg_sleep(0.09)`;
      await goOn();
    }
  });
  await expect(together).rejects.toBeInstanceOf(TookTooLong);
  await t.sql.begin(async (other) => {
    await other`lock table job_run_targets in access exclusive mode`;
    const refused = listRuns(t.sql, { target: 'web' }, everything, { searchMs: 50 });
    await expect(refused).rejects.toMatchObject({ code: 'unavailable' });
  });
});

test('a page whose runs take too long to count comes without the count', async () => {
  const query = { count: true, limit: 1 };
  const page = await listRuns(t.sql, query, everything, { countMs: 0 });
  expect(page.items).toHaveLength(1);
  expect(page.nextCursor).not.toBeNull();
  expect(page.total).toBeUndefined();
});
