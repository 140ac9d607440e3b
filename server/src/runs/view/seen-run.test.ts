// Runs as seen by someone who may read only some of their targets, through a target group.
import { randomUUID } from 'node:crypto';
import type { ChunkEvent, RunChange, StepOutcome } from '@opsconductor/protocol';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Authority } from '../../auth/authority.ts';
import { rowsRead } from '../../store/database/testing/rows-read.ts';
import { identifyPart } from '../../store/runs/lists/run-parts.ts';
import { cancelRun } from '../ends/cancel-run.ts';
import { cancelTargetRun } from '../ends/cancel-target-run.ts';
import { markLeased } from '../leases/mark-leased.ts';
import { RunStream } from '../live/run-stream.ts';
import { parsePosition } from '../live/stream-position.ts';
import { chunkOf, setupOutput, type TestOutput, textOf } from '../output/output-testing.ts';
import { endOf, failure, givenUp, success } from '../testing.ts';
import { PartEvents } from './part-events.ts';
import { runView } from './run-view.ts';
import { listSeenRuns, listSeenTargetRuns, partToFollow, seeRun, whatIsSeen } from './seen-run.ts';

let t: TestOutput;
/** As of a server that keeps running. */
let events: PartEvents;
const streams: RunStream[] = [];
beforeEach(async () => {
  t = await setupOutput();
  events = new PartEvents();
});
afterEach(async () => {
  for (const stream of streams.splice(0)) stream.close();
  await t[Symbol.asyncDispose]();
});

const viewer = (scope: ConstructorParameters<typeof Authority>[0][number]['scope']) =>
  new Authority([{ role: 'viewer', permission: null, scope }]);
const administrator = viewer(null);

interface RunTarget {
  id: number;
  targetId: number;
  stepIds: number[];
}

const targetRunsOf = (runId: number) =>
  t.sql<RunTarget[]>`
    select tr.id, tr.target_id, array(select s.id from job_run_steps s where s.target_run_id = tr.id order by s.id) as step_ids
    from job_run_targets tr where tr.job_run_id = ${runId} order by tr.id`;

/** Makes a reader of a group with these targets. */
async function readerOf(...targetIds: (number | undefined)[]): Promise<Authority> {
  const [group] = await t.sql<{ id: number }[]>`
    insert into target_groups (name) values (${randomUUID()}) returning id`;
  const id = group?.id ?? 0;
  for (const targetId of targetIds) {
    await t.sql`insert into target_group_members (target_group_id, target_id) values (${id}, ${targetId ?? 0})`;
  }
  return viewer({ kind: 'target_group', id });
}

/** Leases what waits, and announces it as the gateway does. */
async function leaseAll() {
  const leases = await t.claim();
  await markLeased(t.sql, leases);
  return leases;
}

/** Makes a run of one step on as many targets, each with that outcome; `undefined` lets it go on. */
async function ran(...outcomes: (StepOutcome | 'unknown' | undefined)[]) {
  const runId = await t.start({ targets: outcomes.length });
  for (const [index, lease] of (await leaseAll()).entries()) {
    const outcome = outcomes[index];
    if (outcome === undefined) continue;
    await t.settle(outcome === 'unknown' ? givenUp(lease) : endOf(lease, outcome));
  }
  return { runId, targets: await targetRunsOf(runId) };
}

const see = async (runId: number, authority: Authority) => {
  const { run, isWhole } = await seeRun(t.sql, runId, authority, { countEvents: events });
  return { ...runView(run), isWhole };
};

async function follow(runId: number, authority: Authority, from = '0') {
  const seen = await seeRun(t.sql, runId, authority);
  const part = await partToFollow(t.sql, seen, authority);
  const position = parsePosition(from);
  if (position === undefined) throw new Error(`no position: ${from}`);
  const tagged = part === undefined ? {} : { part: part.tag };
  const stepIds = (await t.steps(runId)).map((step) => step.id);
  const stream = new RunStream(t, { runId, stepIds, position: { ...position, ...tagged }, part });
  streams.push(stream);
  return stream;
}

interface Sent {
  id: string;
  type: string;
  data: unknown;
}

async function readToEnd(stream: RunStream): Promise<Sent[]> {
  const sent: Sent[] = [];
  for (let pieces = await stream.next(600_000); pieces !== undefined; pieces = await stream.next(600_000)) {
    for (const frame of Buffer.concat(pieces).toString().split('\n\n').filter(Boolean)) {
      const field = (name: string) => new RegExp(`^${name}: (.*)$`, 'm').exec(frame)?.[1] ?? '';
      sent.push({ id: field('id'), type: field('event'), data: JSON.parse(field('data')) });
    }
  }
  return sent;
}

const changesOf = (sent: readonly Sent[]) =>
  sent.filter(({ type }) => type === 'change').map(({ data }) => data as RunChange);

describe('the part of a run', () => {
  test.each([
    ['its own success beside another’s failure', [success, failure], [0], 'succeeded'],
    ['its own failure beside another’s success', [success, failure], [1], 'failed'],
    ['unknown beside a failure', [failure, 'unknown', success], [1, 2], 'unknown'],
    ['ended beside what goes on', [success, undefined], [0], 'succeeded'],
    ['going on beside what has ended', [success, undefined], [1], 'running'],
  ] as const)('is %s', async (_, outcomes, indexes, status) => {
    const { runId, targets } = await ran(...outcomes);
    const reader = await readerOf(...indexes.map((index) => targets[index]?.targetId));
    const seen = await see(runId, reader);
    expect(seen).toMatchObject({
      status,
      targetsTotal: indexes.length,
      totalSteps: indexes.length,
      errorMessage: null,
      isWhole: false,
    });
    expect(seen.completedAt === null).toBe(status === 'running');
  });

  test('is waiting while it waits, whatever the rest does', async () => {
    await t.connect(t.agent, { slots: 1 });
    const runId = await t.start({ targets: 2 });
    await t.claimOne();
    const [first, second] = await targetRunsOf(runId);
    expect(await see(runId, await readerOf(first?.targetId))).toMatchObject({ targetsTotal: 1 });
    expect(await see(runId, await readerOf(second?.targetId))).toMatchObject({
      status: 'queued',
      targetsQueued: 1,
      targetsRunning: 0,
      startedAt: null,
      eventSeq: 0,
    });
  });

  test('is the whole run, in every detail, for a reader of all its targets', async () => {
    const { runId, targets } = await ran(success, failure);
    const reader = await readerOf(...targets.map(({ targetId }) => targetId));
    expect(await see(runId, reader)).toEqual(await see(runId, administrator));
  });

  test('is not found by a reader of none of its targets', async () => {
    const { runId } = await ran(success);
    await expect(see(runId, await readerOf())).rejects.toMatchObject({ code: 'not_found' });
    await expect(see(runId, new Authority([]))).rejects.toMatchObject({ code: 'not_found' });
  });

  test('does not reveal a cancel from after its end, but one that ended it', async () => {
    const { runId, targets } = await ran(success, undefined);
    const [ended, going] = targets;
    const readers = [await readerOf(ended?.targetId), await readerOf(going?.targetId)] as const;
    await cancelRun(t.sql, runId, t.caller);
    expect(await see(runId, readers[0])).toMatchObject({ status: 'succeeded', cancelRequestedBy: null });
    expect(await see(runId, readers[1])).toMatchObject({ status: 'cancelling', cancelRequestedBy: 'ada' });
  });

  test('keeps its status when the rest is cancelled after its end, even if a host of it had been cancelled', async () => {
    const { runId, targets } = await ran(failure, undefined, undefined);
    const [failed, cancelled, going] = targets;
    const reader = await readerOf(failed?.targetId, cancelled?.targetId);
    const targetRunId = cancelled?.id ?? 0;
    await cancelTargetRun(t.sql, { runId, targetRunId }, t.caller, { force: true });
    await t.sql`update job_run_targets set status = 'cancelled' where id = ${targetRunId}`;
    await t.sql`update job_runs set targets_unknown = 0, targets_cancelled = 1 where id = ${runId}`;
    const before = await see(runId, reader);
    expect(before).toMatchObject({ status: 'failed', targetsFailed: 1, targetsCancelled: 1 });
    await cancelRun(t.sql, runId, t.caller);
    expect(await see(runId, reader)).toEqual(before);
    const rest = await readerOf(going?.targetId);
    expect(await see(runId, rest)).toMatchObject({ status: 'cancelling', cancelRequestedBy: 'ada' });
  });

  test('is cancelled by the cancel that ended its hosts', async () => {
    await t.connect(t.agent, { slots: 2 });
    const { runId, targets } = await ran(failure, undefined, undefined);
    const reader = await readerOf(targets[0]?.targetId, targets[2]?.targetId);
    await cancelRun(t.sql, runId, t.caller);
    expect(await see(runId, reader)).toMatchObject({ status: 'cancelled', cancelRequestedBy: 'ada' });
  });
});

/** Counts the statements that some work sends, but not the fragments that they consist of. */
async function queriesOf(work: (sql: typeof t.sql) => Promise<unknown>): Promise<number> {
  const sent = new Set<object>();
  const sql = new Proxy(t.sql, {
    apply: (target, self, args) => {
      const query = Reflect.apply(target, self, args) as Promise<unknown>;
      // A fragment is never waited for.
      const { then: send } = query;
      Object.defineProperty(query, 'then', {
        value: (...then: unknown[]) => {
          sent.add(query);
          return Reflect.apply(send, query, then);
        },
      });
      return query;
    },
  });
  await work(sql);
  return sent.size;
}

test('a reader of the job costs no more queries than a reader of everything', async () => {
  const { runId } = await ran(success, failure);
  const see = (authority: Authority) => queriesOf((sql) => seeRun(sql, runId, authority));
  const all = await see(administrator);
  expect(all).toBe(1);
  expect(await see(viewer({ kind: 'category', id: 1 }))).toBe(all);
  expect(await see(viewer({ kind: 'segment', id: t.segmentId }))).toBeGreaterThan(all);
});

test('a run that may not be seen costs no more queries than one that does not exist', async () => {
  const { runId } = await ran(success, failure);
  const nobody = await readerOf();
  const refused = (work: Promise<unknown>) => expect(work).rejects.toMatchObject({ code: 'not_found' });
  for (const id of [runId, runId + 1]) {
    expect(await queriesOf((sql) => refused(seeRun(sql, id, nobody, { countEvents: events })))).toBe(1);
    const page = () => ({ above: 0, limit: 10 });
    expect(await queriesOf((sql) => refused(listSeenTargetRuns(sql, id, nobody, page)))).toBe(1);
    expect(await queriesOf((sql) => whatIsSeen(sql, id, nobody))).toBe(1);
  }
});

describe('a list of runs', () => {
  const goOn = async () => {};

  test('is filtered by the status of what is seen, and full as long as there is more', async () => {
    const seenRuns: number[] = [];
    const members: number[] = [];
    for (const own of [success, failure, success, success, failure]) {
      const { runId, targets } = await ran(own, success, failure);
      seenRuns.push(runId);
      members.push(targets[0]?.targetId ?? 0, targets[1]?.targetId ?? 0);
      await ran(own);
    }
    const reader = await readerOf(...members);
    const list = async (statuses: readonly ('succeeded' | 'failed')[], limit: number, beyond?: number) =>
      (await listSeenRuns(t.sql, { statuses, limit, beyond }, reader, goOn)).map(({ id }) => id);
    const [a, b, c, d, e] = seenRuns;
    // Each has a target run that succeeded: the database alone can't tell them apart.
    expect(await list(['succeeded'], 10)).toEqual([d, c, a]);
    expect(await list(['failed'], 10)).toEqual([e, b]);
    expect(await list(['succeeded'], 2)).toEqual([d, c]);
    expect(await list(['succeeded'], 2, c)).toEqual([a]);
    expect(await list(['succeeded', 'failed'], 4)).toEqual([e, d, c, b]);
    expect((await listSeenRuns(t.sql, { limit: 3 }, reader, goOn)).map(({ id }) => id)).toEqual([e, d, c]);
  });

  test('with a status that no part has takes no longer than it may', async () => {
    const members: number[] = [];
    for (let runs = 0; runs < 3; runs += 1) {
      const { runId, targets } = await ran(failure, failure, success);
      await t.sql`update job_runs set max_failures = 1 where id = ${runId}`;
      members.push(targets[0]?.targetId ?? 0, targets[1]?.targetId ?? 0);
    }
    const reader = await readerOf(...members);
    const list = (goOn: () => Promise<void>) =>
      listSeenRuns(t.sql, { statuses: ['partial'], limit: 2 }, reader, goOn);
    // Each tolerates a failure, and has more: two are read, then the third.
    let statements = 1;
    const counting = async () => {
      statements += 1;
    };
    await expect(list(counting)).resolves.toEqual([]);
    expect(statements).toBe(4);
    await expect(list(() => Promise.reject(new Error('time is up')))).rejects.toThrow('time is up');
  });
});

describe('the stream of a part', () => {
  test('has its own numbers without gaps, its own output, and ends as the run is seen', async () => {
    const runId = await t.start({ targets: 3, steps: 2 });
    const reading = [0, 1];
    const targets = await targetRunsOf(runId);
    const reader = await readerOf(...reading.map((index) => targets[index]?.targetId));
    const own = new Set(reading.flatMap((index) => targets[index]?.stepIds ?? []));
    for (let round = 0; round < 2; round += 1) {
      for (const lease of await t.claim()) {
        await t.send(lease, chunkOf(lease, 1, own.has(lease.id) ? 'own\n' : 'foreign\n'));
        await t.settle(endOf(lease, round === 1 && !own.has(lease.id) ? failure : success));
      }
    }
    const sent = await readToEnd(await follow(runId, reader));
    const changes = changesOf(sent);
    const { isWhole: _, ...seen } = await see(runId, reader);
    expect(changes.map(({ seq }) => seq)).toEqual(changes.map((_change, index) => index + 1));
    expect(changes).toHaveLength(seen.eventSeq);
    expect(seen).toMatchObject({ ...changes.at(-1)?.run, status: 'succeeded', completedSteps: 4 });
    expect(changes.flatMap(({ steps }) => steps ?? []).every(({ id }) => own.has(id))).toBe(true);
    const texts = sent.filter(({ type }) => type === 'chunk').map(({ data }) => (data as ChunkEvent).data);
    expect(texts.map(textOf)).toEqual(['own\n', 'own\n', 'own\n', 'own\n']);
    expect(sent.at(-1)?.type).toBe('end');
    for (const [index, { id }] of sent.entries()) {
      if (id === '') continue;
      const rest = await readToEnd(await follow(runId, reader, id));
      expect(rest).toEqual(sent.slice(index + 1));
    }
  });

  test('of all targets of a run says the same as the run’s own', async () => {
    const { runId, targets } = await ran(success, failure, 'unknown');
    const whole = changesOf(await readToEnd(await follow(runId, administrator)));
    const seen = await seeRun(t.sql, runId, administrator);
    const reader = await readerOf(...targets.map(({ targetId }) => targetId));
    const part = await partToFollow(t.sql, { ...seen, isWhole: false }, reader);
    for (const { seq: _seq, at: _at, ...change } of whole) {
      const { errorMessage: _message, ...run } = change.run ?? {};
      expect(part?.see(change)?.run).toMatchObject(run);
    }
  });

  test('ends with the part, while the rest goes on', async () => {
    const { runId, targets } = await ran(success, undefined);
    const sent = await readToEnd(await follow(runId, await readerOf(targets[0]?.targetId)));
    expect(changesOf(sent).at(-1)?.run?.status).toBe('succeeded');
    expect(sent.at(-1)?.type).toBe('end');
  });
});

describe('for a part with a long history', () => {
  const stepsEach = 20;
  let runId: number;
  let reader: Authority;

  /** The reader sees the first of two hosts. Each step that ends there makes one or two events of the part. */
  beforeEach(async () => {
    runId = await t.start({ targets: 2, steps: stepsEach });
    const targets = await targetRunsOf(runId);
    reader = await readerOf(targets[0]?.targetId);
  });

  async function goOn(times: number): Promise<void> {
    for (let done = 0; done < times; done += 1)
      await t.settle(...(await leaseAll()).map((lease) => endOf(lease)));
  }

  const seqOf = async (who = reader) =>
    (await seeRun(t.sql, runId, who, { countEvents: events })).run.eventSeq;

  test('its events are counted on from those that were counted before', async () => {
    await goOn(15);
    const first = await seqOf();
    expect(first).toBeGreaterThan(15);
    const again = await rowsRead(t.sql, 'run_events', (db) =>
      seeRun(db, runId, reader, { countEvents: events }),
    );
    expect(again).toMatchObject({ rows: 0, found: { run: { eventSeq: first } } });
    await goOn(1);
    const { eventSeq } = await t.run(runId);
    const later = await rowsRead(t.sql, 'run_events', (db) =>
      seeRun(db, runId, reader, { countEvents: events }),
    );
    expect(later.rows).toBeLessThan(10);
    expect(later.found.run.eventSeq).toBeGreaterThan(first);
    expect(later.found.run.eventSeq).toBeLessThanOrEqual(eventSeq);
    events = new PartEvents();
    expect(await seqOf()).toBe(later.found.run.eventSeq);
  });

  test('a reader who read the run before another counted further gets the number of that moment', async () => {
    await goOn(3);
    const { eventSeq: then } = await t.run(runId);
    const known = await seqOf();
    await goOn(2);
    expect(await seqOf()).toBeGreaterThan(known);
    const { targets, digest } = await identifyPart(t.sql, runId, reader.reach('read'));
    expect(targets).toBe(1);
    const asOfThen = { id: runId, eventSeq: then };
    await expect(events.count(t.sql, asOfThen, reader.reach('read'), digest)).resolves.toEqual({
      digest,
      count: known,
    });
  });

  test('a part that has changed is counted as what it is now', async () => {
    await goOn(2);
    const known = await seqOf();
    const { digest } = await identifyPart(t.sql, runId, reader.reach('read'));
    const other = await readerOf((await targetRunsOf(runId))[1]?.targetId);
    const { eventSeq } = await t.run(runId);
    await goOn(1);
    const now = { id: runId, eventSeq: (await t.run(runId)).eventSeq };
    expect(now.eventSeq).toBeGreaterThan(eventSeq);
    const told = await events.count(t.sql, now, other.reach('read'), digest);
    expect(told.digest).not.toBe(digest);
    expect(told.count).toBe(await seqOf(other));
    expect(await seqOf()).toBeGreaterThan(known);
  });

  test('its hosts are listed without its steps', async () => {
    await goOn(5);
    const [own] = await targetRunsOf(runId);
    const page = (above = 0) => ({ above, limit: 10 });
    const listed = await rowsRead(t.sql, 'job_run_steps', (db) =>
      listSeenTargetRuns(db, runId, reader, () => page()),
    );
    expect([listed.rows, listed.found.rows.map(({ id }) => id)]).toEqual([0, [own?.id]]);
    const behind = await listSeenTargetRuns(t.sql, runId, reader, () => page(own?.id));
    expect(behind.rows).toEqual([]);
    const none = await readerOf();
    await expect(listSeenTargetRuns(t.sql, runId, none, () => page())).rejects.toMatchObject({
      code: 'not_found',
    });
  });

  test('whether it is still the same is told without its steps and its events', async () => {
    await goOn(5);
    const seen = await seeRun(t.sql, runId, reader);
    const part = await partToFollow(t.sql, seen, reader);
    for (const table of ['job_run_steps', 'run_events']) {
      const { rows, found } = await rowsRead(t.sql, table, (db) => whatIsSeen(db, runId, reader));
      expect({ table, rows, found }).toEqual({
        table,
        rows: 0,
        found: { isWhole: false, partTag: part?.tag },
      });
    }
    await expect(whatIsSeen(t.sql, runId, administrator)).resolves.toEqual({ isWhole: true });
    await expect(whatIsSeen(t.sql, runId, await readerOf())).resolves.toBeUndefined();
    const ofAll = await readerOf(...(await targetRunsOf(runId)).map(({ targetId }) => targetId));
    await expect(whatIsSeen(t.sql, runId, ofAll)).resolves.toEqual({ isWhole: true });
  });
});

test('output of another run, asked for by its step’s id, is not sent, not even from memory', async () => {
  const own = await t.start();
  const ownLease = await t.claimOne();
  await t.start();
  const foreignLease = await t.claimOne();
  const stream = new RunStream(t, {
    runId: own,
    stepIds: [ownLease.id, foreignLease.id],
    position: { afterSeq: 0, output: new Map() },
  });
  streams.push(stream);
  // After its place in the database was looked up, new output is handed on from memory.
  await t.send(ownLease, chunkOf(ownLease, 1, 'own\n'));
  expect(String(await stream.next(600_000))).toContain('event: chunk');
  await t.send(foreignLease, chunkOf(foreignLease, 1, 'foreign\n'));
  await t.send(ownLease, chunkOf(ownLease, 2, 'own too\n'));
  const { news } = await t.settle(endOf(ownLease));
  t.hub.publishRuns(news.runs);
  const sent = await readToEnd(stream);
  const texts = sent
    .filter(({ type }) => type === 'chunk')
    .map(({ data }) => textOf((data as ChunkEvent).data));
  expect(texts).toEqual(['own too\n']);
});
