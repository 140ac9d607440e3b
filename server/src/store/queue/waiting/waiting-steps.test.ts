// How much of a run is read by the queries that everyone who looks at a run, and the sweep, repeat every few seconds.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { endOf, setupRuns, success, type TestRuns } from '../../../runs/testing.ts';
import { makeSegment } from '../../../segments/testing.ts';
import type { Queryable } from '../../database/connection.ts';
import { rowsHandled } from '../../database/testing/rows-handled.ts';
import { rowsRead } from '../../database/testing/rows-read.ts';
import { unrestricted } from '../../people/visibility.ts';
import { idlePlaces, longWaits } from './wait-bounds.ts';
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
      insert into job_run_targets (job_run_id, segment_id, target_name, status, completed_at)
      select ${to}, ${segmentId}, 'added-' || n, ${endedAt === null ? 'queued' : status}, ${endedAt}::timestamptz from generate_series(1, ${targets}) n
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

test('a target run whose step has begun does not wait for those that were leased to follow it', async () => {
  await using own = await setupRuns();
  const inARow = await own.start({ steps: 4 });
  const { results } = await own.settle(endOf(await own.claimOne(), success, { wantsNext: true, ahead: 2 }));
  const { next, ahead } = results[0] ?? {};
  expect(ahead).toHaveLength(2);
  const waits = async () => listWaiting(own.sql, inARow, unrestricted, { ends: false });
  expect(await waits()).toMatchObject([{ kind: 'leased', targets: 1, since: expect.any(Date) }]);
  await own.sql`update job_run_steps set started_at = now() where id = ${next?.id ?? 0}`;
  expect(await waits()).toEqual([]);
  await own.sql`update agent_sessions set expires_at = now() - interval '1 s'`;
  expect(await waits()).toMatchObject([{ kind: 'agent_unheard', targets: 1 }]);
});

test('how long a step waits in an idle segment is found without reading the ended and pending steps there', async () => {
  const { id: idle } = await makeSegment(t, 'dmz-2');
  await addTargets({ segmentId: idle, targets: manyTargets, status: 'succeeded' });
  await addTargets({ segmentId: idle, targets: manyTargets, status: 'pending' });
  const [open] = await t.sql<{ id: number }[]>`
    insert into job_run_targets (job_run_id, segment_id, target_name, status)
    values (${runId}, ${idle}, 'open', 'running') returning id`;
  const openId = open?.id ?? 0;
  await t.sql`
    insert into job_run_steps (job_run_id, target_run_id, segment_id, step_number, step_type, time_budget_s, status,
      completed_at)
    select ${runId}, ${openId}, ${idle}, n, 'ssh.exec', 70, case n when 1 then 'succeeded' else 'ready' end,
      case n when 1 then now() - interval '30 min' end
    from generate_series(1, 2) n`;
  await t.sql`analyze`;
  const minutesAgo = async () => {
    const place = await read((db) => placeOf(db, idle));
    expect(place.rows).toBeLessThan(few);
    return Math.round((Date.now() - Number(place.found?.movedAt)) / 60_000);
  };
  // Counted from the last end there, whether it ended its target run or not.
  expect(await minutesAgo()).toBe(0);
  const before = (status: string) => t.sql`
    update job_run_targets set completed_at = now() - interval '1 h' where segment_id = ${idle} and status = ${status}`;
  await before('succeeded');
  expect(await minutesAgo()).toBe(30);
  await t.sql`update job_run_steps set completed_at = now() - interval '2 h' where target_run_id = ${openId} and step_number = 1`;
  expect(await minutesAgo()).toBe(60);
  const waiting = await read((db) => listWaiting(db, runId, unrestricted, { ends: true }));
  expect(waiting.found).toContainEqual(
    expect.objectContaining({ kind: 'ready', segmentId: idle, targets: 1, until: expect.any(Date) }),
  );
  expect(waiting.rows).toBeLessThan(few);
  await t.sql`update job_run_steps set waits_since = now() - interval '2 h' where target_run_id = ${openId} and status = 'ready'`;
  const long = await read((db) => longWaits(db, runId));
  expect(long.found).toHaveLength(1);
  expect(long.rows).toBeLessThan(few);
});

test('a wait that was given up on a target run is no sign that something ran there', async () => {
  const { id: idle } = await makeSegment(t, 'dmz-3');
  await addTargets({ segmentId: idle, targets: 2, status: 'succeeded' });
  await t.sql`
    update job_run_steps set reason = 'start_within_expired', leased_at = null
    where segment_id = ${idle} and step_number = ${stepsEach}`;
  await t.sql`
    update job_run_steps set completed_at = now() - interval '1 h', leased_at = now() - interval '1 h'
    where segment_id = ${idle} and step_number < ${stepsEach}`;
  await t.sql`
    with open as (
      insert into job_run_targets (job_run_id, segment_id, target_name, status)
      values (${runId}, ${idle}, 'open', 'queued') returning id
    )
    insert into job_run_steps (job_run_id, target_run_id, segment_id, step_number, step_type, time_budget_s, status)
    select ${runId}, id, ${idle}, 1, 'ssh.exec', 70, 'ready' from open`;
  const place = await placeOf(t.sql, idle);
  expect(Date.now() - Number(place?.movedAt)).toBeGreaterThan(59 * 60_000);
  expect(Date.now() - Number(place?.givenUpAt)).toBeLessThan(60_000);
});

async function placeOf(db: Queryable, segmentId: number) {
  const [place] = await db<{ movedAt: Date; givenUpAt: Date }[]>`
    select moved_at, given_up_at from (${idlePlaces(db, runId)}) place where segment_id = ${segmentId}`;
  return place;
}

test('what waits in a large run is joined target by target, even if the database takes the run for a small one', async () => {
  await using own = await setupRuns();
  // As if no statistics told of it, like those of an hour ago or of an installation where most runs are small.
  await own.sql`alter table job_run_targets set (autovacuum_enabled = off)`;
  await own.sql`alter table job_run_steps set (autovacuum_enabled = off)`;
  await own.start({ targets: 2, steps: 2 });
  await own.sql`analyze`;
  const places = 8;
  for (let more = 1; more < places; more += 1) await makeSegment(own, `place-${more}`);
  const largeId = await own.start({ steps: 2 });
  await own.sql`
    with place as (select id, row_number() over (order by id) as turn from segments), added as (
      insert into job_run_targets (job_run_id, segment_id, target_name, status)
      select ${largeId}, place.id, 'added-' || n, 'running'
      from generate_series(1, ${manyTargets}) n join place on place.turn = n % ${places}::int + 1
      returning id, segment_id
    )
    insert into job_run_steps (job_run_id, target_run_id, segment_id, step_number, step_type, time_budget_s, status)
    select ${largeId}, added.id, added.segment_id, n, 'ssh.exec', 70, case n when 1 then 'ready' else 'pending' end
    from added cross join generate_series(1, 2) n`;
  const handled = (work: (db: Queryable) => Promise<unknown>) => rowsHandled(own.sql, work);
  const perTarget = 200;
  expect(await handled((db) => listWaiting(db, largeId, unrestricted, { ends: true }))).toBeLessThan(
    perTarget * manyTargets,
  );
  expect(await handled((db) => longWaits(db, largeId))).toBeLessThan(perTarget * manyTargets);
});
