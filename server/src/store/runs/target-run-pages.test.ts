// A page of a run's target runs is read in their order, however many target runs the run and all others have.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { setupRuns, type TestRuns } from '../../runs/testing.ts';
import { rowsRead } from '../database/testing/rows-read.ts';
import { unrestricted } from '../people/visibility.ts';
import { listTargetRuns } from './runs.ts';

const others = 20_000;
const ofLargeRun = 3_000;
const perPage = 50;
/** Number of rows; each one may be read several times, by its index and by its id. */
const few = 4 * perPage;

let t: TestRuns;
let largeRun: number;
beforeAll(async () => {
  t = await setupRuns();
  const otherRun = await t.start();
  largeRun = await t.start();
  // The large run is the newest: looking through all target runs by id comes to it last.
  await t.sql`
    insert into job_run_targets (job_run_id, segment_id, target_name, status)
    select ${otherRun}, ${t.segmentId}::bigint, 'host', 'succeeded' from generate_series(1, ${others}::int)`;
  await t.sql`
    insert into job_run_targets (job_run_id, segment_id, target_name, status)
    select ${largeRun}, ${t.segmentId}::bigint, 'host', 'succeeded' from generate_series(1, ${ofLargeRun}::int)`;
  await t.sql`analyze`;
});
afterAll(() => t[Symbol.asyncDispose]());

const readPage = (above: number) =>
  rowsRead(t.sql, 'job_run_targets', (db) =>
    listTargetRuns(db, { runId: largeRun, above, limit: perPage }, unrestricted),
  );

test('pages of a large run are read without its other target runs and those of other runs', async () => {
  const first = await readPage(0);
  expect(first.found).toHaveLength(perPage);
  expect(first.rows).toBeLessThan(few);

  const second = await readPage(first.found.at(-1)?.id ?? 0);
  expect(second.found).toHaveLength(perPage);
  expect(second.rows).toBeLessThan(few);
});
