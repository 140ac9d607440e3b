// Lists of runs after a year: the few runs with some property are found and counted without reading all runs. The rare
// runs are the oldest ones, so going back until enough match would read everything.
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Reach } from '../../../auth/authority.ts';
import { endOf, setupRuns, type TestRuns } from '../../../runs/testing.ts';
import { makeSegment } from '../../../segments/testing.ts';
import type { Queryable } from '../../database/connection.ts';
import { rowsRead } from '../../database/testing/rows-read.ts';
import { unrestricted } from '../../people/visibility.ts';
import { countRuns, listRuns, type RunFilter } from './run-lists.ts';

const manyRuns = 22_000;
const jobs = 5;
const rareRuns = 20;
const oldRuns = 6_000;
/** Number of runs; each one found may be read several times, by its index and by its id. */
const few = 500;
const day = '2025-03-10';

let t: TestRuns;
let rareSegment: number;
let rareGroup: number;
let rareCategory: number;
let oldCategory: number;
let ann: number;
let bob: number;
beforeAll(async () => {
  t = await setupRuns();
  rareSegment = (await makeSegment(t, 'new')).id;
  const model = await t.start();
  for (let more = 1; more < jobs; more += 1) await t.start();
  const [rareJob, oldJob] = await jobsOf(await t.start(), await t.start());
  await t.settle(...(await t.claim()).map((lease) => endOf(lease)));
  const [group] = await t.sql<{ id: number }[]>`insert into target_groups (name) values ('new') returning id`;
  rareGroup = group?.id ?? 0;
  rareCategory = await categoryOf('new', rareJob);
  await t.sql`
    insert into job_versions select made.* from job_versions v
    cross join lateral jsonb_populate_record(v, '{"version":2}') made
    where v.job_id = ${rareJob}`;
  oldCategory = await categoryOf('old', oldJob);
  const targetId = await t.addTarget();
  await t.sql`insert into target_group_members (target_group_id, target_id) values (${rareGroup}, ${targetId})`;
  const users = await t.sql<{ id: number }[]>`
    insert into users (name) values ('ann'), ('bob') returning id`;
  [ann, bob] = users.map(({ id }) => id) as [number, number];
  // Otherwise, thousands of times in one transaction, each insert would update the newest run of its job.
  await t.sql`alter table job_runs disable trigger job_runs_started`;
  await t.sql`
    insert into job_runs overriding system value
    select made.* from job_runs r cross join generate_series(1, ${manyRuns}) n
    cross join lateral jsonb_populate_record(r, jsonb_build_object('id', 1000 + n, 'job_id', case
        when n <= ${rareRuns} then ${rareJob}::bigint when n <= ${oldRuns} then ${oldJob}::bigint else 1 + n % ${jobs} end)
      || case when n <= ${rareRuns} then jsonb_build_object('job_version', 2, 'version_ref', 'stable', 'status', case n % 2 when 0 then 'unknown' else 'timed_out' end,
        'created_by', ${ann}::bigint, 'created_at', ${`${day}T12:00:00Z`}::text)
      else jsonb_build_object('created_at', '2025-06-01T00:00:00Z'::timestamptz + n * interval '1 minute') end
      || case when n > ${rareRuns} and n <= ${oldRuns} then jsonb_build_object('version_ref', 'early', 'created_by', ${bob}::bigint)
        else '{}' end) made
    where r.id = ${model}`;
  await t.sql`
    insert into job_run_targets (job_run_id, segment_id, target_id, target_name, status)
    select r.id, case when r.status <> 'succeeded' then ${rareSegment}::bigint else ${t.segmentId}::bigint end,
      case when r.status <> 'succeeded' then ${targetId}::bigint end, 'host', r.status
    from job_runs r where r.id > 1000`;
  await t.sql`update job_runs set created_at = '2025-05-15' where id < 1000`;
  await t.sql`analyze`;
});
afterAll(() => t[Symbol.asyncDispose]());

async function jobsOf(...runIds: [number, number]): Promise<[number, number]> {
  const rows = await t.sql<{ jobId: number }[]>`
    select job_id from job_runs where id = any(${runIds}::bigint[]) order by id`;
  await t.sql`delete from job_runs where id = any(${runIds}::bigint[])`;
  return rows.map(({ jobId }) => jobId) as [number, number];
}

async function categoryOf(name: string, jobId: number): Promise<number> {
  const [row] = await t.sql<{ id: number }[]>`insert into categories (name) values (${name}) returning id`;
  await t.sql`update jobs set category_id = ${row?.id ?? 0}, name = ${`${name} job`} where id = ${jobId}`;
  return row?.id ?? 0;
}

const read = <T>(work: (db: Queryable) => Promise<T>) => rowsRead(t.sql, 'job_runs', work);
const within = (more: Partial<Reach>): Reach[] => [
  { everywhere: false, categoryIds: [], segmentIds: [], targetGroupIds: [], ...more },
];

test.each<[string, () => Omit<RunFilter, 'reaches'> & { reaches?: readonly Reach[] }, number]>([
  ['in a state', () => ({ statuses: ['unknown'] }), rareRuns / 2],
  ['in one of several states', () => ({ statuses: ['unknown', 'held', 'timed_out'] }), rareRuns],
  ['by who started them', () => ({ createdBy: ann }), rareRuns],
  [
    'of a day',
    () => ({ createdAfter: new Date(day), createdBefore: new Date(Date.parse(day) + 86_400_000) }),
    rareRuns,
  ],
  ['by a reader of a new segment', () => ({ reaches: within({ segmentIds: [rareSegment] }) }), rareRuns],
  [
    'by a reader of a new target group',
    () => ({ reaches: within({ targetGroupIds: [rareGroup] }) }),
    rareRuns,
  ],
  [
    'by a reader of both',
    () => ({ reaches: within({ segmentIds: [rareSegment], targetGroupIds: [rareGroup] }) }),
    rareRuns,
  ],
  ['of a version', () => ({ version: '2' }), rareRuns],
  ['of a version by its name', () => ({ version: 'stable' }), rareRuns],
  ['of a category', () => ({ category: 'new' }), rareRuns],
  ['of jobs by their name', () => ({ search: 'New' }), rareRuns],
  ['by a reader of a new category', () => ({ reaches: within({ categoryIds: [rareCategory] }) }), rareRuns],
  [
    'by a reader of a new category, in a state',
    () => ({
      reaches: within({ categoryIds: [rareCategory] }),
      statuses: ['unknown'],
      partStatuses: ['unknown'],
    }),
    rareRuns / 2,
  ],
  [
    'by a reader of a new category with a token for two',
    () => ({
      reaches: [
        ...within({ categoryIds: [rareCategory] }),
        ...within({ categoryIds: [rareCategory, oldCategory] }),
      ],
    }),
    rareRuns,
  ],
  [
    'by a reader of a new category and segment',
    () => ({ reaches: within({ categoryIds: [rareCategory], segmentIds: [rareSegment] }) }),
    rareRuns,
  ],
  ['by a reader of nothing', () => ({ reaches: within({}) }), 0],
])('the few %s are listed and counted without reading all runs', async (_, filterOf, expected) => {
  const filter = { reaches: unrestricted, ...filterOf() };
  for (const sort of ['newest', 'oldest'] as const) {
    const listed = await read((db) => listRuns(db, { ...filter, sort, limit: 51 }));
    const ids = listed.found.map(({ id }) => id);
    expect(ids).toHaveLength(expected);
    expect(ids).toEqual(ids.toSorted((a, b) => (sort === 'oldest' ? a - b : b - a)));
    expect(listed.rows).toBeLessThan(few);
  }
  const counted = await read((db) => countRuns(db, filter, 10_000));
  expect(counted.found).toBe(expected);
  expect(counted.rows).toBeLessThan(few);
});

const half = 1000 + manyRuns / 2;
const timeOf = (id: number) => new Date(Date.parse('2025-06-01') + (id - 1000) * 60_000);
test.each<[string, 'newest' | 'oldest', Pick<RunFilter, 'createdAfter' | 'createdBefore'>, number[]]>([
  ['before a time', 'newest', { createdBefore: timeOf(half) }, [half - 1, half - 2, half - 3]],
  ['since a time, from the oldest on', 'oldest', { createdAfter: timeOf(half) }, [half, half + 1, half + 2]],
  [
    'before the last',
    'newest',
    { createdBefore: timeOf(1000 + manyRuns) },
    [999, 998, 997].map((n) => n + manyRuns),
  ],
])('runs %s are found without reading all runs outside of the period', async (_, sort, span, expected) => {
  const query = { ...span, sort, reaches: unrestricted, limit: 3 };
  const { rows, found } = await rowsRead(t.sql, 'job_runs_pkey', (db) => listRuns(db, query));
  expect(found.map(({ id }) => id)).toEqual(expected);
  expect(rows).toBeLessThan(few);
});

test('a run whose time does not match the order of ids is still listed in its place', async () => {
  const late = 1000 + manyRuns - 5;
  await t.sql`update job_runs set created_at = '2025-04-01' where id = ${late}`;
  const span = { createdBefore: new Date('2025-05-01'), reaches: unrestricted, limit: 2 };
  const found = await listRuns(t.sql, span);
  expect(found.map(({ id }) => id)).toEqual([late, 1000 + rareRuns]);
});

test('pages of runs in several states continue where the previous page ended', async () => {
  const found: number[] = [];
  for (let beyond: number | undefined; ; beyond = found.at(-1)) {
    const statuses = ['unknown', 'timed_out'] as const;
    const page = await listRuns(t.sql, { statuses, reaches: unrestricted, limit: 3, beyond });
    found.push(...page.map(({ id }) => id));
    if (page.length < 3) break;
  }
  expect(found).toEqual(Array.from({ length: rareRuns }, (_, n) => 1000 + rareRuns - n));
});

test('a reader who sees most runs gets the newest without reading all', async () => {
  const reaches = within({ segmentIds: [t.segmentId] });
  const { rows, found } = await read((db) => listRuns(db, { reaches, limit: 51 }));
  expect(found).toHaveLength(51);
  expect(rows).toBeLessThan(few);
});

test.each<[string, () => Partial<RunFilter>]>([
  ['of an early version', () => ({ version: 'early' })],
  ['by somebody who starts none any more', () => ({ createdBy: bob })],
])('the newest of many runs %s are found without reading all newer ones', async (_, filterOf) => {
  const filter = filterOf();
  const { rows, found } = await read((db) => listRuns(db, { ...filter, reaches: unrestricted, limit: 3 }));
  expect(found.map(({ id }) => id)).toEqual([0, -1, -2].map((n) => 1000 + oldRuns + n));
  expect(rows).toBeLessThan(few);
});

test('a reader who sees most runs only in part is told that none is running without looking at all target runs', async () => {
  const filter = {
    reaches: within({ segmentIds: [t.segmentId] }),
    statuses: ['running'],
    partStatuses: ['queued', 'running', 'cancelling', 'held'],
  } as const;
  const { rows, found } = await rowsRead(t.sql, 'job_run_targets', (db) =>
    listRuns(db, { ...filter, limit: 51 }),
  );
  expect(found).toEqual([]);
  // Some are read to find out that there are many.
  expect(rows).toBeLessThan(manyRuns);
});

test('a reader of a part finds it by its status, which can be another one than that of the run', async () => {
  const id = 1000 + rareRuns;
  await t.sql`
    insert into job_run_targets (job_run_id, segment_id, target_name, status)
    values (${id}, ${t.segmentId}, 'other', 'timed_out')`;
  await t.sql`update job_runs set targets_total = 2, targets_timed_out = 1 where id = ${id}`;
  const filter = {
    reaches: within({ segmentIds: [t.segmentId] }),
    statuses: ['timed_out'],
    partStatuses: ['timed_out'],
  } as const;
  const found = await listRuns(t.sql, { ...filter, limit: 3 });
  expect(found.map((run) => [run.id, run.status])).toEqual([[id, 'unknown']]);
});

test('runs are counted without looking at each of them', async () => {
  await t.sql`vacuum job_runs`;
  const { found, rows } = await rowsRead(t.sql, 'jobs', (db) =>
    countRuns(db, { reaches: unrestricted, version: 'early' }, 10_000),
  );
  expect(found).toBe(oldRuns - rareRuns);
  expect(rows).toBe(0);
});

test.each<[string, 'newest' | 'oldest', number[]]>([
  ['newest', 'newest', [0, -1, -2].map((n) => 1000 + oldRuns + n)],
  ['oldest', 'oldest', [1, 2, 3].map((n) => 1000 + rareRuns + n)],
])(
  'the %s of many runs of a category where nothing runs any more are found without reading all newer ones',
  async (_, sort, expected) => {
    const filter = { reaches: within({ categoryIds: [oldCategory] }), limit: 3, sort };
    const first = await read((db) => listRuns(db, filter));
    expect(first.found.map(({ id }) => id)).toEqual(expected);
    expect(first.rows).toBeLessThan(few);
    const next = await read((db) => listRuns(db, { ...filter, beyond: expected[0] }));
    expect(next.found.map(({ id }) => id).slice(0, 2)).toEqual(expected.slice(1));
    expect(next.rows).toBeLessThan(few);
  },
);

test('a reader of a category with most runs gets the newest in a state, and their count up to a bound', async () => {
  const [{ categoryId } = { categoryId: 0 }] = await t.sql<{ categoryId: number }[]>`
    select category_id from jobs where id = 1`;
  const reaches = within({ categoryIds: [categoryId, oldCategory] });
  const filter = { reaches, statuses: ['succeeded'], partStatuses: ['succeeded'] } as const;
  const newest = await listRuns(t.sql, { ...filter, limit: 3 });
  expect(newest.map(({ id }) => id)).toEqual([0, -1, -2].map((n) => 1000 + manyRuns + n));
  expect(await countRuns(t.sql, filter, 10_000)).toBe(10_000);
  expect(await countRuns(t.sql, { reaches }, 10_000)).toBe(10_000);
});

test('the few runs on the many hosts of a former site are listed and counted without reading all runs', async () => {
  const runIds = [1001 + rareRuns, 1003 + rareRuns];
  const hosts = 11_000;
  await t.sql`
    insert into job_run_targets (job_run_id, segment_id, target_name, status)
    select run.id, ${t.segmentId}, 'former-' || n, 'succeeded'
    from unnest(${runIds}::bigint[]) run(id) cross join generate_series(1, ${hosts}) n`;
  await t.sql`analyze job_run_targets`;
  for (const reaches of [unrestricted, within({ segmentIds: [t.segmentId] })]) {
    const filter = { target: 'Former', reaches };
    for (const sort of ['newest', 'oldest'] as const) {
      const listed = await read((db) => listRuns(db, { ...filter, sort, limit: 51 }));
      expect(listed.found.map(({ id }) => id)).toEqual(sort === 'oldest' ? runIds : runIds.toReversed());
      expect(listed.rows).toBeLessThan(few);
    }
    const counted = await read((db) => countRuns(db, filter, 10_000));
    expect(counted.found).toBe(runIds.length);
    expect(counted.rows).toBeLessThan(few);
  }
});

test('the newest of many runs on a host are found, with those on many hosts among them', async () => {
  const newest = await listRuns(t.sql, { target: 'o', reaches: unrestricted, limit: 3 });
  expect(newest.map(({ id }) => id)).toEqual([0, -1, -2].map((n) => 1000 + manyRuns + n));
  expect(await countRuns(t.sql, { target: 'o', reaches: unrestricted }, 10_000)).toBe(10_000);
});
