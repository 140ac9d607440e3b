// How much of a run is read by the queries that everyone who looks at a run, and the sweep, repeat every few seconds.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { setupRuns, type TestRuns } from '../../runs/testing.ts';
import { makeSegment } from '../../segments/testing.ts';
import type { Queryable } from '../database/connection.ts';
import { rowsRead } from '../database/testing/rows-read.ts';
import { unrestricted } from '../people/visibility.ts';
import { longWaits } from './wait-bounds.ts';
import { listWaiting, runTimes } from './waiting-steps.ts';

const manyTargets = 2_000;
const stepsEach = 10;
const openTargets = 12;
/** Out of more than 20,000. */
const few = 500;

let t: TestRuns;
let runId: number;
beforeAll(async () => {
  t = await setupRuns();
  runId = await t.start({ targets: openTargets, steps: stepsEach });
  await addTargets({ targets: manyTargets, status: 'succeeded' });
  await t.sql`analyze`;
});
afterAll(() => t[Symbol.asyncDispose]());

interface AddedTargets {
  segmentId?: number;
  targets: number;
  status: 'succeeded' | 'pending';
}

async function addTargets({ segmentId = t.segmentId, targets, status }: AddedTargets, to = runId) {
  const endedAt = status === 'pending' ? null : new Date();
  await t.sql`
    with added as (
      insert into job_run_targets (job_run_id, segment_id, target_name, status)
      select ${to}, ${segmentId}, 'added-' || n, ${endedAt === null ? 'queued' : status} from generate_series(1, ${targets}) n
      returning id
    )
    insert into job_run_steps (job_run_id, target_run_id, segment_id, step_number, step_type, time_budget_s, status, epoch,
      leased_at, completed_at)
    select ${to}, added.id, ${segmentId}, n, 'ssh.exec', 70, ${status}, 1, ${endedAt}, ${endedAt}
    from added cross join generate_series(1, ${stepsEach}) n`;
}

const read = <T>(work: (db: Queryable) => Promise<T>) => rowsRead(t.sql, 'job_run_steps', work);

test('whether a run still waits to begin is found without reading all waiting steps', async () => {
  const waitingId = await t.start();
  await addTargets({ targets: manyTargets, status: 'pending' }, waitingId);
  await t.sql`analyze`;
  const { rows, found } = await read((db) => runTimes(db, waitingId));
  expect(found.startBy).not.toBeNull();
  expect(rows).toBeLessThan(few);
  await t.sql`delete from job_runs where id = ${waitingId}`;
});

test('in a segment where a run is going on, no ended step is read to say what waits', async () => {
  expect(await t.claim()).toHaveLength(8);
  await t.sql`update job_runs set status = 'running', start_by = created_at + interval '1 ms' where id = ${runId}`;
  const waiting = await read((db) => listWaiting(db, runId, unrestricted, { ends: true }));
  expect(waiting.found).toMatchObject([
    { kind: 'leased', targets: 8 },
    { kind: 'ready', targets: openTargets - 8, until: null },
  ]);
  expect(waiting.rows).toBeLessThan(few);
  const long = await read((db) => longWaits(db, runId));
  expect(long.found).toEqual([]);
  expect(long.rows).toBeLessThan(few);
});

test('how long a step waits in an idle segment is found by reading only the ended steps of that segment', async () => {
  const { id: idle } = await makeSegment(t, 'dmz-2');
  await addTargets({ segmentId: idle, targets: 3, status: 'succeeded' });
  await t.sql`
    with open as (
      insert into job_run_targets (job_run_id, segment_id, target_name, status)
      values (${runId}, ${idle}, 'open', 'running') returning id
    )
    insert into job_run_steps (job_run_id, target_run_id, segment_id, step_number, step_type, time_budget_s, status)
    select ${runId}, id, ${idle}, 1, 'ssh.exec', 70, 'ready' from open`;
  const waiting = await read((db) => listWaiting(db, runId, unrestricted, { ends: true }));
  expect(waiting.found).toContainEqual(
    expect.objectContaining({ kind: 'ready', segmentId: idle, targets: 1, until: expect.any(Date) }),
  );
  expect(waiting.rows).toBeLessThan(few);
  await t.sql`
    update job_run_steps set completed_at = completed_at - interval '1 h', leased_at = null where segment_id = ${idle}`;
  const long = await read((db) => longWaits(db, runId));
  expect(long.found).toHaveLength(1);
  expect(long.rows).toBeLessThan(few);
});
