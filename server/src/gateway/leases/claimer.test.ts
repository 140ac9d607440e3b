import { limits } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { endOf, setupRuns, type TestRuns, testServerId } from '../../runs/testing.ts';
import { connectQueue, type Queryable, type Sql, type Tx } from '../../store/database/connection.ts';
import { inTransaction } from '../../store/database/transaction.ts';
import { type ClaimedStep, newClaimId } from '../../store/queue/claims/claims.ts';
import { Claimer } from './claimer.ts';

const slots = 4;
const targets = 400;

test.each([
  ['new', async () => {}],
  ['analyzed while they were empty', (t: TestRuns) => t.sql`vacuum analyze`],
  ['analyzed with one run', (t: TestRuns) => t.start().then(() => t.sql`vacuum analyze`)],
  ['analyzed when all runs had been purged', (t: TestRuns) => purgedAll(t).then(() => t.sql`vacuum analyze`)],
])(
  'a claim reads about as many steps as it takes, however many are ready, on tables that are %s',
  async (_, prepare) => {
    await using t = await setupClaimer();
    await prepare(t);
    await t.startOnMany();
    expect(await t.stepsRead(t.next)).toBeLessThan(targets / 4);
  },
);

test('beside an open snapshot, a claim for freed slots doesn’t step over those that were ready before', async () => {
  await using t = await setupClaimer();
  await t.startOnMany();
  await using _ = await openSnapshot(t.sql);
  for (let taken = 0; taken < targets / 2; taken += slots) await t.endAll(await t.next());
  let last: ClaimedStep[] = [];
  const goingOn = await t.stepsRead(async () => {
    last = await t.next();
  });
  expect(goingOn).toBeLessThan(targets / 8);
  await t.endAll(last);
  // What this avoids: entries of the steps that were taken stay in the index as long as somebody may see them.
  t.claimer.lookAtAll();
  expect(await t.stepsRead(t.next)).toBeGreaterThan(targets / 2);
});

test('after a look that took steps of a more urgent run, others continue where they had been', async () => {
  await using t = await setupClaimer();
  await t.startOnMany();
  await using _ = await openSnapshot(t.sql);
  for (let taken = 0; taken < targets / 2; taken += slots) await t.endAll(await t.next());
  const urgent = await t.start({ job: { priority: 5 }, targets: slots });
  t.claimer.lookAtAll();
  const first = await t.next();
  expect(runsOf(first)).toEqual(Array(slots).fill(urgent));
  await t.endAll(first);
  expect(await t.stepsRead(t.next)).toBeLessThan(targets / 8);
});

test('steps that become ready again, or are more urgent, are taken before those that a claim would continue with', async () => {
  await using t = await setupClaimer();
  const many = await t.startOnMany();
  const [first, ...others] = await t.next();
  if (first === undefined) throw new Error('nothing was claimed');
  await t.endAll(others);
  expect(await t.next()).toHaveLength(slots - 1);
  await t.sql`update job_run_steps set status = 'ready', lease_token = null where id = ${first.id}`;
  t.heldLess(1);
  t.claimer.lookAtAll();
  expect((await t.next()).map(({ id }) => id)).toEqual([first.id]);
  const urgent = await t.start({ job: { priority: 5 } });
  t.claimer.lookAtAll();
  // Without a slot, the look found nothing: the next slot is for what the look was made for.
  expect(await t.next()).toEqual([]);
  await t.endAll([{ ...first, epoch: 2, leaseToken: await tokenOf(t, first.id) }]);
  expect((await t.next()).map(({ jobRunId }) => jobRunId)).toEqual([urgent]);
  expect((await t.run(many)).status).toBe('running');
});

test('if the known runs have no more steps, the remaining slots go to others', async () => {
  await using t = await setupClaimer();
  const few = await t.start({ targets: slots + 1 });
  await t.endAll(await t.next());
  // Nobody announced it, as if its notice had been lost.
  const other = await t.start({ targets: slots });
  const [left] = await t.next();
  expect(left?.jobRunId).toBe(few);
  expect((await t.next()).map(({ jobRunId }) => jobRunId)).toEqual([other, other, other]);
});

test('an agent gets no more steps than it has slots, and runs take turns', async () => {
  await using t = await setupClaimer();
  const [one, two] = [await t.start({ targets: 20 }), await t.start({ targets: 20 })];
  const first = await t.next();
  expect(runsOf(first)).toEqual([one, one, two, two]);
  expect(await t.next()).toEqual([]);
  await t.endAll(first.slice(0, 2));
  expect(runsOf(await t.next())).toEqual([one, two]);
  expect(await t.next()).toEqual([]);
});

test('if no slot became free, the database is not asked', async () => {
  await using t = await setupClaimer();
  await t.start({ targets: 20 });
  expect(await t.next()).toHaveLength(slots);
  const { asked } = t;
  expect(await t.next()).toEqual([]);
  expect(t.asked).toBe(asked);
});

test('a slow look is not repeated at once, but after a while', async () => {
  await using t = await setupClaimer();
  const many = await t.start({ targets: 20 });
  t.lookTakesMs = 300;
  await t.endAll(await t.next());
  const urgent = await t.start({ job: { priority: 5 } });
  t.claimer.lookAtAll();
  t.lookTakesMs = 0;
  const meanwhile = await t.next();
  expect(runsOf(meanwhile)).toEqual(Array(slots).fill(many));
  await t.endAll(meanwhile);
  t.nowMs += 6_000;
  expect(runsOf(await t.next())).toContain(urgent);
});

test('a slow look does not wait if there is nothing else to go on with', async () => {
  await using t = await setupClaimer();
  t.lookTakesMs = 300;
  const first = await t.start({ targets: slots - 1 });
  expect(runsOf(await t.next())).toEqual(Array(slots - 1).fill(first));
  const second = await t.start();
  t.claimer.lookAtAll();
  expect(runsOf(await t.next())).toEqual([second]);
});

test('a run that starts alone is leased by its own transaction without a look at others', async () => {
  await using t = await setupClaimer();
  const other = await t.start();
  const runId = await t.start({ targets: 2 });
  const claim = await inTransaction(t.sql, (tx) =>
    t.claimer.along(tx, newClaimId(), {
      jobRunId: runId,
      claimRank: 0,
      segmentIds: [t.segmentId],
      hasLocks: false,
    }),
  );
  expect(runsOf(claim.steps)).toEqual([runId, runId]);
  expect((await t.steps(other))[0]?.status).toBe('ready');
});

test('a run with locks takes them with its claim, and leases no step whose lock another run holds', async () => {
  await using t = await setupClaimer();
  const job = { locks: [{ name: 'database', mode: 'exclusive' as const }] };
  const along = (jobRunId: number) =>
    inTransaction(t.sql, (tx) =>
      t.claimer.along(tx, newClaimId(), {
        ...{ jobRunId, claimRank: 0, segmentIds: [t.segmentId], hasLocks: true },
      }),
    );
  const first = await t.start({ job });
  const second = await t.start({ job });
  expect(runsOf((await along(first)).steps)).toEqual([first]);
  expect((await along(second)).steps).toEqual([]);
});

test('an agent whose steps are not known here yet is given nothing more', async () => {
  await using t = await setupClaimer();
  await t.start({ targets: 3 * slots });
  await t.endAll(await t.next());
  t.isAgentReady = false;
  const runId = await t.start();
  const alone = { jobRunId: runId, claimRank: 0, segmentIds: [t.segmentId], hasLocks: false };
  const claim = await inTransaction(t.sql, (tx) => t.claimer.along(tx, newClaimId(), alone));
  expect(claim.steps).toEqual([]);
  expect(await t.next()).toEqual([]);
  t.isAgentReady = true;
  t.claimer.slotsFreed(t.segmentId);
  expect(await t.next()).toHaveLength(slots);
});

test('steps that a claim left at its own limit are taken by the next one, even if no slot became free', async () => {
  await using t = await setupClaimer();
  await t.connect(t.agent, { slots: 300 });
  await t.startOnMany();
  expect(await t.next()).toHaveLength(limits.maxClaimBatch);
  expect(await t.next()).toHaveLength(300 - limits.maxClaimBatch);
});

test('if there are more runs than one claim takes from, the others follow', async () => {
  await using t = await setupClaimer();
  await t.connect(t.agent, { slots: 80 });
  for (let n = 0; n < 70; n += 1) await t.start();
  const claim = await t.claimer.next(newClaimId());
  expect(claim).toMatchObject({ steps: { length: 64 }, tookAll: false, again: true });
  expect(await t.next()).toHaveLength(6);
});

test('with agents of two kinds, each freed slot causes a look at everything', async () => {
  await using t = await setupClaimer();
  const other = await t.addAgent('of another kind');
  await t.connect(other, { slots, capabilities: ['sftp.sync'] });
  await t.start({ targets: 20 });
  const first = await t.next();
  expect(first).toHaveLength(2 * slots);
  await t.endAll(first);
  expect(await t.next()).toHaveLength(2 * slots);
});

interface TestClaimer extends TestRuns {
  claimer: Claimer;
  nowMs: number;
  /** Number of the claimer's statements, including parts. */
  asked: number;
  /** Whether the agent is known here, with all that it has. */
  isAgentReady: boolean;
  /** How far the clock moves during a look at everything. */
  lookTakesMs: number;
  next(): Promise<ClaimedStep[]>;
  endAll(steps: readonly ClaimedStep[]): Promise<void>;
  heldLess(steps: number): void;
  startOnMany(): Promise<number>;
  /** Returns how many index entries of steps the claims in this work read. */
  stepsRead(work: () => Promise<unknown>): Promise<number>;
}

/** Sets up one agent with a few slots. The claimer's connection is like the gateway's. */
async function setupClaimer(): Promise<TestClaimer> {
  const t = await setupRuns();
  // Each test says what statistics the database has; and no index has entries left from before.
  await t.sql`alter table job_run_steps set (autovacuum_enabled = false)`;
  await t.sql`vacuum (index_cleanup on) job_run_steps`;
  await t.connect(t.agent, { slots });
  const queue = connectQueue(t.sql, { max: 1 });
  let inUse: Queryable = queue;
  let held = 0;
  const world: TestClaimer = Object.assign(Object.create(null), t, {
    nowMs: 0,
    asked: 0,
    isAgentReady: true,
    lookTakesMs: 0,
    claimer: new Claimer({
      sql: new Proxy(queue, {
        apply(_, self, args) {
          world.asked += 1;
          return Reflect.apply(inUse as never, self, args);
        },
      }),
      serverId: testServerId,
      held: () => (world.isAgentReady ? [{ agentId: t.agent.agentId, steps: held }] : []),
      now: () => {
        world.nowMs += world.lookTakesMs;
        return world.nowMs;
      },
    }),
    async next() {
      const { steps } = await world.claimer.next(newClaimId());
      held += steps.length;
      return steps;
    },
    async endAll(steps: readonly ClaimedStep[]) {
      await t.settle(...steps.map((step) => endOf(step)));
      world.heldLess(steps.length);
    },
    heldLess(steps: number) {
      held -= steps;
      world.claimer.slotsFreed(t.segmentId);
    },
    async startOnMany() {
      const runId = await t.start({ targets: 2 });
      const [targetRun] = await t.sql<{ id: number }[]>`
        select id from job_run_targets where job_run_id = ${runId} order by id limit 1`;
      await t.sql`
        insert into job_run_targets (job_run_id, segment_id, target_name)
        select ${runId}, ${t.segmentId}, 'more-' || n from generate_series(1, ${targets}) n`;
      await t.sql`
        insert into job_run_steps (job_run_id, target_run_id, segment_id, step_number, step_type, time_budget_s, status)
        select ${runId}, id, segment_id, 1, 'ssh.exec', 60, 'ready' from job_run_targets
        where job_run_id = ${runId} and id > ${(targetRun?.id ?? 0) + 1}`;
      await t.sql`update job_runs set targets_total = ${targets + 2}, total_steps = ${targets + 2} where id = ${runId}`;
      return runId;
    },
    async stepsRead(work: () => Promise<unknown>) {
      return queue.begin(async (tx) => {
        inUse = tx;
        const before = await readSoFar(tx);
        await work();
        inUse = queue;
        return (await readSoFar(tx)) - before;
      });
    },
    async [Symbol.asyncDispose]() {
      await queue.end();
      await t[Symbol.asyncDispose]();
    },
  });
  return world;
}

/** By the connection's own statistics, within one transaction. */
async function readSoFar(tx: Tx): Promise<number> {
  const [row] = await tx<{ read: number }[]>`
    select sum(pg_stat_get_xact_tuples_returned(indexrelid))::int as read
    from pg_index where indrelid = 'job_run_steps'::regclass`;
  return row?.read ?? Number.NaN;
}

/** Opens a transaction that has read and stays open. */
async function openSnapshot(sql: Sql): Promise<AsyncDisposable> {
  let close = () => {};
  const closed = new Promise<void>((resolve) => {
    close = resolve;
  });
  let done: Promise<unknown> = Promise.resolve();
  await new Promise<void>((resolve, reject) => {
    done = sql.begin('isolation level repeatable read', async (tx) => {
      await tx`select count(*) from agents`;
      resolve();
      await closed;
    });
    done.catch(reject);
  });
  return {
    async [Symbol.asyncDispose]() {
      close();
      await done;
    },
  };
}

/** Leaves a few pages of purged runs. */
async function purgedAll(t: TestRuns): Promise<void> {
  await t.start({ targets: 20 });
  await t.start();
  await t.sql`delete from job_run_steps where id < (select max(id) from job_run_steps)`;
}

async function tokenOf(t: TestRuns, stepId: number): Promise<string> {
  const [row] = await t.sql<
    { leaseToken: string }[]
  >`select lease_token from job_run_steps where id = ${stepId}`;
  return row?.leaseToken ?? '';
}

const runsOf = (steps: readonly ClaimedStep[]): number[] =>
  steps.map(({ jobRunId }) => jobRunId).sort((a, b) => a - b);
