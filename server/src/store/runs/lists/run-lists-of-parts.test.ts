// Lists of runs for readers who see many runs, and each only in part: what they look for is found without reading all.
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Reach } from '../../../auth/authority.ts';
import { endOf, setupRuns, type TestRuns } from '../../../runs/testing.ts';
import { rowsRead } from '../../database/testing/rows-read.ts';
import { listRuns, type RunListQuery } from './run-lists.ts';

const manyRuns = 24_000;
/** Those on the host that had another name. */
const oldRuns = 1_200;
const jobs = 400;
/** Target runs that are read to find out that there are many. */
const counted = 20_001;
const few = 500;

let t: TestRuns;
let categoryId: number;
let groupId: number;
beforeAll(async () => {
  t = await setupRuns();
  const model = await t.start();
  await t.settle(...(await t.claim()).map((lease) => endOf(lease)));
  const targetId = await t.addTarget();
  const [made] = await t.sql<{ categoryId: number; groupId: number }[]>`
    with c as (insert into categories (name) values ('readable') returning id),
      g as (insert into target_groups (name) values ('all') returning id),
      m as (insert into target_group_members (target_group_id, target_id) select id, ${targetId} from g)
    select c.id as category_id, g.id as group_id from c, g`;
  ({ categoryId, groupId } = made ?? { categoryId: 0, groupId: 0 });
  await t.sql`
    insert into jobs (id, name, category_id, step_types, step_count, data_key)
    overriding system value
    select 1000 + n, case n % 10 when 1 then 'check ' else 'patch ' end || n, j.category_id, j.step_types, j.step_count,
      j.data_key
    from jobs j cross join generate_series(1, ${jobs}) n where j.id = (select job_id from job_runs where id = ${model})`;
  await t.sql`
    insert into job_versions select made.* from job_versions v cross join generate_series(1, ${jobs}) n
    cross join lateral jsonb_populate_record(v, jsonb_build_object('job_id', 1000 + n)) made
    where v.job_id = (select job_id from job_runs where id = ${model})`;
  await t.sql`alter table job_runs disable trigger job_runs_started`;
  await t.sql`
    insert into job_runs overriding system value
    select made.* from job_runs r cross join generate_series(1, ${manyRuns}) n
    cross join lateral jsonb_populate_record(r, jsonb_build_object('id', 1000 + n, 'job_id', 1001 + n % ${jobs})
      || case n % 3 when 0 then jsonb '{"status":"failed","targets_succeeded":0,"targets_failed":1}' else '{}' end) made
    where r.id = ${model}`;
  await t.sql`
    insert into job_run_targets (job_run_id, segment_id, target_id, target_name, status)
    select r.id, ${t.segmentId}, ${targetId}, case when r.id <= ${1000 + oldRuns} then 'former' else 'host' end,
      r.status from job_runs r where r.id > 1000`;
  await t.sql`analyze`;
});
afterAll(() => t[Symbol.asyncDispose]());

const within = (reach: Partial<Reach>): readonly Reach[] => [
  { everywhere: false, categoryIds: [], segmentIds: [], targetGroupIds: [], ...reach },
];
const list = (query: Partial<RunListQuery>) =>
  rowsRead(t.sql, 'job_run_targets', (db) =>
    listRuns(db, { reaches: within({ targetGroupIds: [groupId] }), limit: 51, ...query }),
  );

test('parts that timed out are looked for in the runs that count such target runs', async () => {
  const { rows, found } = await list({ statuses: ['timed_out'], partStatuses: ['timed_out'] });
  expect(found).toEqual([]);
  expect(rows).toBeLessThan(counted + few);
});

test('partial parts are looked for in the runs that tolerate failures', async () => {
  const partial = { statuses: ['partial'], partStatuses: ['failed', 'partial', 'timed_out'] } as const;
  const none = await list(partial);
  expect(none.found).toEqual([]);
  expect(none.rows).toBeLessThan(counted + few);
  await t.sql`update job_runs set max_failures = 1 where id in (1003, 1006)`;
  const some = await list(partial);
  expect(some.found.map(({ id }) => id)).toEqual([1006, 1003]);
  expect(some.rows).toBeLessThan(counted + few);
});

test('the newest parts of runs of many jobs are found without reading all runs of these jobs', async () => {
  const { rows, found } = await list({ search: 'patch' });
  // All but every tenth.
  const numbers = Array.from({ length: 60 }, (_, n) => manyRuns - n).filter((n) => n % 10 !== 0);
  expect(found.map(({ id }) => id)).toEqual(numbers.slice(0, 51).map((n) => 1000 + n));
  expect(rows).toBeLessThan(counted + few);
});

test('going through all runs of a category reads the target runs of these only, and the members of the group once', async () => {
  // Every tenth run is of another job.
  const fitting = manyRuns * 0.9;
  const all = { reaches: within({ targetGroupIds: [groupId] }), search: 'patch', limit: manyRuns };
  const targetRuns = await rowsRead(t.sql, 'job_run_targets', (db) => listRuns(db, all));
  expect(targetRuns.found).toHaveLength(fitting);
  expect(targetRuns.rows).toBeLessThan(counted + fitting + few);
  const members = await rowsRead(t.sql, 'target_group_members', (db) => listRuns(db, all));
  expect(members.rows).toBeLessThan(few);
});

test('parts of runs of a job with few runs are found without reading the runs of other jobs', async () => {
  const { rows, found } = await list({ search: 'check 391', limit: 3 });
  expect(found).toHaveLength(3);
  expect(rows).toBeLessThan(counted + few);
});

test('the runs on targets that had a name are found without going back through all newer ones', async () => {
  const reaches = within({ categoryIds: [categoryId], targetGroupIds: [groupId] });
  const { rows, found } = await rowsRead(t.sql, 'job_runs', (db) =>
    listRuns(db, { reaches, target: 'former', limit: 51 }),
  );
  expect(found[0]?.id).toBe(1000 + oldRuns);
  expect(rows).toBeLessThan(manyRuns / 2);
});
