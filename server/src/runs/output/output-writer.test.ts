import { expect, test } from 'vitest';
import { type BinaryQueryable, NotDialled } from '../../store/database/driver/binary-connection.ts';
import { inTransaction } from '../../store/database/transaction.ts';
import { unrestricted } from '../../store/people/visibility.ts';
import { purgeRun } from '../../store/runs/runs.ts';
import { blockedBackends, endOf, givenUp, holdTransaction, refuseToWrite, success } from '../testing.ts';
import { chunkOf, digestOf, outputAttempt, setupOutput, textOf } from './output-testing.ts';
import { OutputWriter } from './output-writer.ts';
import { findOutput, outputLength, readOutputPage } from './read-output.ts';

test('chunks are stored encrypted and in order, and the step shows how far they go', async () => {
  await using t = await setupOutput();
  const runId = await t.start();
  const lease = await t.claimOne();
  const frames = [
    chunkOf(lease, 1, 'one\n'),
    chunkOf(lease, 2, 'two\n', 'stderr'),
    chunkOf(lease, 3, 'three\n'),
  ];
  expect(await t.send(lease, ...frames)).toEqual(['stored', 'stored', 'stored']);
  expect(await t.steps(runId)).toMatchObject([{ outputState: 'open', outputSeq: 3, outputBytes: 14 }]);
  const attempt = await findOutput(t, { runId, stepId: lease.id }, unrestricted);
  const { chunks } = await readOutputPage(t, attempt, { after: 0, maxRawBytes: 1_000 });
  expect(chunks.map(({ seq, stream, data }) => [seq, stream, textOf(data)])).toEqual([
    [1, 'stdout', 'one\n'],
    [2, 'stderr', 'two\n'],
    [3, 'stdout', 'three\n'],
  ]);
  const [row] = await t.sql<{ sealed: Buffer }[]>`select sealed from run_output where seq = 1`;
  expect(row?.sealed.includes(Buffer.from(frames[0]?.bytes.subarray(10) ?? []))).toBe(false);
});

test('a chunk that is sent twice is stored once and counted once', async () => {
  await using t = await setupOutput();
  const runId = await t.start();
  const lease = await t.claimOne();
  await t.send(lease, chunkOf(lease, 1, 'one\n'), chunkOf(lease, 2, 'two\n'));
  const again = [chunkOf(lease, 2, 'two\n'), chunkOf(lease, 3, 'three\n')];
  expect(await t.send(lease, ...again)).toEqual(['stored', 'stored']);
  expect(await t.stored(lease)).toEqual([1, 2, 3]);
  expect(await t.steps(runId)).toMatchObject([{ outputSeq: 3, outputBytes: 14 }]);
});

test('a different chunk under a number that is already stored is reported, and changes nothing', async () => {
  await using t = await setupOutput();
  const runId = await t.start();
  const lease = await t.claimOne();
  await t.send(lease, chunkOf(lease, 1, 'one\n'));
  expect(await t.send(lease, chunkOf(lease, 1, 'another\n'))).toEqual(['differs']);
  const attempt = await findOutput(t, { runId, stepId: lease.id }, unrestricted);
  const { chunks } = await readOutputPage(t, attempt, { after: 0, maxRawBytes: 1_000 });
  expect(chunks.map((chunk) => textOf(chunk.data))).toEqual(['one\n']);
});

test('a chunk after a missing one is not stored until the missing one was sent', async () => {
  await using t = await setupOutput();
  const runId = await t.start();
  const lease = await t.claimOne();
  expect(await t.send(lease, chunkOf(lease, 2, 'two\n'))).toEqual(['gap']);
  expect(await t.send(lease, chunkOf(lease, 1, 'one\n'), chunkOf(lease, 3, 'three\n'))).toEqual([
    'stored',
    'gap',
  ]);
  expect(await t.steps(runId)).toMatchObject([{ outputSeq: 1, outputBytes: 4 }]);
  expect(await t.send(lease, chunkOf(lease, 2, 'two\n'), chunkOf(lease, 3, 'three\n'))).toEqual([
    'stored',
    'stored',
  ]);
  expect(await t.stored(lease)).toEqual([1, 2, 3]);
});

test('chunks of one batch with one missing between them are not stored beyond it', async () => {
  await using t = await setupOutput();
  const runId = await t.start();
  const lease = await t.claimOne();
  // The first chunk is being written while the others gather behind it.
  const release = await holdTransaction(
    t.sql,
    (tx) => tx`select 1 from job_run_steps where id = ${lease.id} for update`,
  );
  const first = t.send(lease, chunkOf(lease, 1, 'one\n'));
  const rest = t.send(lease, chunkOf(lease, 2, 'two\n'), chunkOf(lease, 4, 'four\n'));
  await release();
  expect([await first, await rest]).toEqual([['stored'], ['stored', 'gap']]);
  expect(await t.stored(lease)).toEqual([1, 2]);
  expect(await t.steps(runId)).toMatchObject([{ outputSeq: 2, outputBytes: 8 }]);
});

test('output is refused once the step has ended or is leased again', async () => {
  await using t = await setupOutput();
  await t.start({ targets: 2 });
  const [ended, moved] = await t.claim();
  if (ended === undefined || moved === undefined) throw new Error('not leased');
  await t.settle(endOf(ended));
  await t.sql`update job_run_steps set epoch = epoch + 1, lease_token = 'another' where id = ${moved.id}`;
  expect(await t.send(ended, chunkOf(ended, 1, 'late\n'))).toEqual(['refused']);
  expect(await t.send(moved, chunkOf(moved, 1, 'late\n'))).toEqual(['refused']);
  expect(await t.send({ ...moved, epoch: 2, sessionNumber: 9 }, chunkOf(moved, 1, 'x'))).toEqual(['refused']);
  expect(await t.send({ ...moved, epoch: 2, agentId: 9 }, chunkOf(moved, 1, 'x'))).toEqual(['refused']);
  expect([...(await t.stored(ended)), ...(await t.stored(moved))]).toEqual([]);
});

test('an attempt that was given up may still deliver missing output until its result is there', async () => {
  await using t = await setupOutput();
  const runId = await t.start();
  const lease = await t.claimOne();
  await t.send(lease, chunkOf(lease, 1, 'one\n'));
  await t.settle(givenUp(lease));
  expect(await t.send(lease, chunkOf(lease, 3, 'three\n'))).toEqual(['gap']);
  expect(await t.send(lease, chunkOf(lease, 2, 'two\n'))).toEqual(['stored']);
  expect(await t.steps(runId)).toMatchObject([{ status: 'unknown', outputSeq: 2, outputBytes: 8 }]);
});

test('late output of an attempt is its own: it comes from its agent, without a hole, and the next attempt’s stays as it is', async () => {
  await using t = await setupOutput();
  const runId = await t.start({ rules: [{ on_unknown: 'retry', idempotent: true }] });
  const first = await t.claimOne();
  await t.send(first, chunkOf(first, 1, 'one\n'));
  await t.settle(givenUp(first));
  const next = await t.claimOne();
  expect(next).toMatchObject({ id: first.id, epoch: 2 });
  await t.send(next, chunkOf(next, 1, 'again\n'), chunkOf(next, 2, 'more\n'), chunkOf(next, 3, 'end\n'));
  const two = chunkOf(first, 2, 'two\n');
  expect(await t.send({ ...first, agentId: 9 }, two)).toEqual(['refused']);
  expect(await t.send(first, chunkOf(first, 4, 'four\n'))).toEqual(['gap']);
  expect(await t.send(first, two)).toEqual(['stored']);
  expect([await t.stored(first), await t.stored(next)]).toEqual([
    [1, 2],
    [1, 2, 3],
  ]);
  expect(await t.steps(runId)).toMatchObject([{ outputSeq: 3, outputBytes: 15 }]);
  const lengthOf = async (epoch: number) =>
    outputLength(t, await findOutput(t, { runId, stepId: first.id, epoch }, unrestricted), undefined);
  expect([await lengthOf(1), await lengthOf(2)]).toEqual([8, 15]);
});

test('while output is kept only from a day in the future, late output of an existing day is still stored and can be read', async () => {
  await using t = await setupOutput();
  const runId = await t.start();
  const lease = await t.claimOne();
  await t.send(lease, chunkOf(lease, 1, 'one\n'));
  await t.settle(givenUp(lease));
  await t.sql`update output_retention set kept_from = current_date + 275`;
  expect(await t.send(lease, chunkOf(lease, 2, 'two\n'))).toEqual(['stored']);
  expect(await findOutput(t, { runId, stepId: lease.id }, unrestricted)).toMatchObject({ lastSeq: 2 });
});

test('an attempt that may not write doesn’t keep another attempt’s chunks in the same batch from being stored', async () => {
  await using t = await setupOutput();
  await t.start({ targets: 3 });
  const [ended, live, purged] = await t.claim();
  if (ended === undefined || live === undefined || purged === undefined) throw new Error('not leased');
  await t.settle(endOf(ended));
  const purgedRun = { ...purged, jobRunId: 4711 };
  // The first chunk is being written while the others gather behind it.
  const release = await holdTransaction(
    t.sql,
    (tx) => tx`select 1 from job_run_steps where id = ${live.id} for update`,
  );
  const first = t.send(live, chunkOf(live, 1, 'one\n'));
  const rest = [
    t.send(ended, chunkOf(ended, 1, 'late\n')),
    t.send(live, chunkOf(live, 2, 'two\n')),
    t.send({ ...purgedRun, id: 4711 }, chunkOf({ ...purged, id: 4711 }, 1, 'gone\n')),
  ];
  await release();
  expect(await first).toEqual(['stored']);
  expect(await Promise.all(rest)).toEqual([['refused'], ['stored'], ['refused']]);
  expect(await t.stored(live)).toEqual([1, 2]);
});

test.each([
  ['was altered', "left(data_key, -4) || 'AAAA'", /altered or moved\.$/],
  [
    'is under a master key that this server does not hold',
    "overlay(data_key placing 'xx' from 5 for 2)",
    /^The data key of its run can’t be read on this server\. .* under master key xx-/,
  ],
])('a run whose key %s keeps no chunk of another run from being stored', async (_, key, expected) => {
  await using t = await setupOutput();
  const altered = await t.start();
  await t.start();
  const leases = await t.claim();
  const bad = leases.find(({ jobRunId }) => jobRunId === altered);
  const good = leases.find(({ jobRunId }) => jobRunId !== altered);
  if (bad === undefined || good === undefined) throw new Error('not leased');
  await t.sql`update job_runs set data_key = ${t.sql.unsafe(key)} where id = ${altered}`;
  // The first one is written by itself; the others gather meanwhile.
  const sent = [
    t.send(good, chunkOf(good, 1, 'one\n')),
    t.send(bad, chunkOf(bad, 1, 'one\n'), chunkOf(bad, 2, 'two\n')),
    t.send(good, chunkOf(good, 2, 'two\n')),
  ];
  const [first, lost, second] = await Promise.all(sent);
  expect([first, second]).toEqual([['stored'], ['stored']]);
  const unreadable = { unreadable: expect.stringMatching(expected) };
  expect(lost).toEqual([unreadable, unreadable]);
  expect([...(await t.stored(bad)), ...(await t.stored(good))]).toEqual([1, 2]);
  // Later chunks have no gap where that one was not kept.
  expect(await t.send(bad, chunkOf(bad, 3, 'three\n'))).toEqual([unreadable]);
});

test('a batch that the database refuses is reported as an error, and nothing after it is stored with a hole', async () => {
  await using t = await setupOutput();
  const runId = await t.start();
  const lease = await t.claimOne();
  // There is no partition for such a day.
  const nowhere = { ...lease, attemptDay: '1999-01-01' };
  const [result] = await t.send(nowhere, chunkOf(lease, 1, 'one\n'));
  expect(result).toBeInstanceOf(Error);
  expect(await t.send(lease, chunkOf(lease, 2, 'two\n'))).toEqual(['gap']);
  expect(await t.steps(runId)).toMatchObject([{ outputSeq: 0, outputBytes: 0 }]);
  expect(t.writer.queuedBytes).toBe(0);
});

test.each([false, true])(
  'output that the database refuses keeps none of other attempts in the same batch from being stored (sent again: %s)',
  async (isAgain) => {
    await using t = await setupOutput();
    await t.start({ targets: 4 });
    const [bad, ...others] = await t.claim();
    const [one, two, three] = others;
    if (bad === undefined || one === undefined || two === undefined || three === undefined)
      throw new Error('not leased');
    await refuseToWrite(t.sql, bad.id);
    if (isAgain) await t.send(three, chunkOf(three, 1, 'first\n'));
    // The first chunk is being written while the others gather behind it.
    const release = await holdTransaction(
      t.sql,
      (tx) => tx`select 1 from job_run_steps where id = ${one.id} for update`,
    );
    const first = t.send(one, chunkOf(one, 1, 'first\n'));
    const rest = [
      t.send(two, chunkOf(two, 1, 'first\n')),
      t.send(bad, chunkOf(bad, 1, 'first\n'), chunkOf(bad, 2, 'second\n')),
      t.send(three, chunkOf(three, 1, 'first\n'), chunkOf(three, 2, 'second\n')),
    ];
    await release();
    expect(await first).toEqual(['stored']);
    const refused = expect.any(Error);
    expect(await Promise.all(rest)).toEqual([['stored'], [refused, refused], ['stored', 'stored']]);
    expect(await t.stored(three)).toEqual([1, 2]);
    expect(await t.stored(bad)).toEqual([]);
    expect(t.writer.queuedBytes).toBe(0);
  },
);

test('output whose statement the database ends to break a deadlock is stored all the same', async () => {
  await using t = await setupOutput();
  await t.start({ targets: 2 });
  const [one, two] = await t.claim();
  if (one === undefined || two === undefined) throw new Error('not leased');
  await t.sql`create sequence tries`;
  await t.sql.unsafe(`
    create function break_deadlock() returns trigger language plpgsql as $$
    begin
      if nextval('tries') = 1 then raise exception 'deadlock detected' using errcode = 'deadlock_detected'; end if;
      return new;
    end $$;
    create trigger broken before update on job_run_steps for each row execute function break_deadlock()`);
  expect(await Promise.all([one, two].map((lease) => t.send(lease, chunkOf(lease, 1, 'one\n'))))).toEqual([
    ['stored'],
    ['stored'],
  ]);
  expect([await t.stored(one), await t.stored(two)]).toEqual([[1], [1]]);
});

test('readers are told of chunks only once they are committed, and again when they are on disk', async () => {
  await using t = await setupOutput();
  const runId = await t.start();
  const lease = await t.claimOne();
  const seen: number[] = [];
  t.hub.onStep(lease.id, () => seen.push(t.hub.recent(lease.id, 1, 0)?.length ?? 0));
  const release = await holdTransaction(
    t.sql,
    (tx) => tx`select 1 from job_run_steps where id = ${lease.id} for update`,
  );
  const sending = t.send(lease, chunkOf(lease, 1, 'one\n'));
  expect(seen).toEqual([]);
  await release();
  await sending;
  expect(seen).toEqual([1, 1]);
  expect(await t.steps(runId)).toMatchObject([{ outputSeq: 1 }]);
});

test('a chunk that was shown and that the database has lost since is not confirmed to its agent, which sends it again', async () => {
  await using t = await setupOutput();
  const runId = await t.start();
  const lease = await t.claimOne();
  t.hub.onStep(lease.id, () => {});
  // A crash, or a standby in its place, takes back what was committed and was not on disk. The pool's next connection
  // knows nothing of it.
  const appends: BinaryQueryable = {
    query: async (...statement) => {
      const reply = await t.appends.query(...statement);
      await t.sql`delete from run_output`;
      await t.sql`update job_run_steps set output_seq = 0, output_bytes = 0 where id = ${lease.id}`;
      return reply;
    },
  };
  const writer = new OutputWriter({ ...t, appends });
  const frame = chunkOf(lease, 1, 'one\n');
  const result = await new Promise((done) => writer.push(outputAttempt(lease), frame, digestOf(frame), done));
  expect(result).toBeInstanceOf(Error);
  expect(t.hub.recent(lease.id, 1, 0)).toBeUndefined();
  expect(await t.send(lease, frame)).toEqual(['stored']);
  expect(await t.steps(runId)).toMatchObject([{ outputSeq: 1, outputBytes: 4 }]);
});

test('a chunk that was shown is not confirmed if its step was leased again before it was on disk', async () => {
  await using t = await setupOutput();
  await t.start();
  const lease = await t.claimOne();
  t.hub.onStep(lease.id, () => {});
  // How far the output of the new attempt goes says nothing of that of the old one.
  const appends: BinaryQueryable = {
    query: async (...statement) => {
      const reply = await t.appends.query(...statement);
      await t.sql`update job_run_steps set epoch = epoch + 1, output_seq = 5 where id = ${lease.id}`;
      return reply;
    },
  };
  const writer = new OutputWriter({ ...t, appends });
  const frame = chunkOf(lease, 1, 'one\n');
  const result = await new Promise((done) => writer.push(outputAttempt(lease), frame, digestOf(frame), done));
  expect(result).toMatchObject({ message: expect.stringContaining('or the step was leased again') });
});

test('chunks that a reader waits for follow the same rules: from the live lease alone, once, and without a hole', async () => {
  await using t = await setupOutput();
  await t.start({ targets: 2 });
  const [lease, ended] = await t.claim();
  if (lease === undefined || ended === undefined) throw new Error('not leased');
  for (const { id } of [lease, ended]) t.hub.onStep(id, () => {});
  const [one, two] = [chunkOf(lease, 1, 'one\n'), chunkOf(lease, 2, 'two\n')];
  for (const other of [{ sessionNumber: lease.sessionNumber + 1 }, { agentId: 9 }, { epoch: 2 }])
    expect(await t.send({ ...lease, ...other }, one)).toEqual(['refused']);
  expect(await t.send(lease, two)).toEqual(['gap']);
  expect(await t.send(lease, one)).toEqual(['stored']);
  expect(await t.send(lease, one)).toEqual(['stored']);
  expect(await t.send(lease, chunkOf(lease, 1, 'another\n'))).toEqual(['differs']);
  expect(await t.send(lease, two)).toEqual(['stored']);
  await t.settle(endOf(ended));
  expect(await t.send(ended, chunkOf(ended, 1, 'late\n'))).toEqual(['refused']);
  expect([await t.stored(lease), await t.stored(ended)]).toEqual([[1, 2], []]);
  const [step] = await t.sql`select output_seq, output_bytes from job_run_steps where id = ${lease.id}`;
  expect(step).toEqual({ outputSeq: 2, outputBytes: 8 });
});

test('closing a writer finishes what it is writing, and returns the rest as “stopping”, not as an error', async () => {
  await using t = await setupOutput();
  await t.start();
  const lease = await t.claimOne();
  const writing = t.send(lease, chunkOf(lease, 1, 'one\n'));
  const waiting = t.send(lease, chunkOf(lease, 2, 'two\n'));
  await t.writer.close();
  expect(await t.stored(lease)).toEqual([1]);
  expect(await writing).toEqual(['stored']);
  expect(await waiting).toEqual(['stopping']);
  expect(await t.send(lease, chunkOf(lease, 2, 'two\n'))).toEqual(['stopping']);
  expect(t.writer.queuedBytes).toBe(0);
});

test('a purge removes the output of every attempt', async () => {
  await using t = await setupOutput();
  const runId = await t.start();
  const lease = await t.claimOne();
  await t.send(lease, chunkOf(lease, 1, 'one\n'));
  await t.settle(endOf(lease, success));
  await inTransaction(t.sql, (tx) => purgeRun(tx, runId));
  expect(await t.stored(lease)).toEqual([]);
  expect(outputAttempt(lease).runId).toBe(runId);
  expect(await t.send(lease, chunkOf(lease, 2, 'late\n'))).toEqual(['refused']);
});

test('late output that comes while its run is being purged is refused', async () => {
  await using t = await setupOutput();
  const runId = await t.start();
  const lease = await t.claimOne();
  await t.settle(givenUp(lease));
  // The purge has removed the output and waits here before it deletes the run.
  const release = await holdTransaction(
    t.sql,
    (tx) => tx`select from job_run_targets where job_run_id = ${runId} for update`,
  );
  const purging = inTransaction(t.sql, (tx) => purgeRun(tx, runId));
  await blockedBackends(t.sql, 1);
  const sent = t.send(lease, chunkOf(lease, 1, 'late\n'));
  // Whether it waits for the purge or not, it must not be stored.
  await Promise.race([sent, blockedBackends(t.sql, 2)]);
  await release();
  await purging;
  expect(await sent).toEqual(['refused']);
  expect(await t.stored(lease)).toEqual([]);
});

test('without a separate connection for output, the connections of the pool store it', async () => {
  await using t = await setupOutput();
  const runId = await t.start();
  const lease = await t.claimOne();
  const appends = { query: () => Promise.reject(new NotDialled('none')) };
  const writer = new OutputWriter({ ...t, appends });
  const results = [1, 2].map((seq) => {
    const frame = chunkOf(lease, seq, `${seq}`);
    return new Promise((done) => writer.push(outputAttempt(lease), frame, digestOf(frame), done));
  });
  expect(await Promise.all(results)).toEqual(['stored', 'stored']);
  expect(await t.stored(lease)).toEqual([1, 2]);
  expect(await t.steps(runId)).toMatchObject([{ outputSeq: 2, outputBytes: 2 }]);
});

test('while the disk of the database has no room for output, the writer says so, until some is stored again', async () => {
  await using t = await setupOutput();
  await t.start();
  const lease = await t.claimOne();
  expect(t.writer.isFull).toBe(false);
  await t.sql.unsafe(`
    create function no_room() returns trigger language plpgsql as
      $$ begin raise 'could not extend file: No space left on device' using errcode = '53100'; end $$;
    create trigger no_room before insert on run_output for each row execute function no_room()`);
  try {
    expect(await t.send(lease, chunkOf(lease, 1, 'a'))).toMatchObject([{ code: '53100' }]);
    expect(t.writer.isFull).toBe(true);
  } finally {
    await t.sql.unsafe('drop function no_room cascade');
  }
  // The agent sends it again.
  expect(await t.send(lease, chunkOf(lease, 1, 'a'))).toEqual(['stored']);
  expect(t.writer.isFull).toBe(false);
});
