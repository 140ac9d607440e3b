// Checks the plans of statements that run all the time, on a table full of finished steps: none may read it from end to
// end.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { endOf, setupRuns, type TestRuns, testServerId } from '../../runs/testing.ts';
import {
  awaitedAttempts,
  markStarted,
  readySessions,
  runningStepsOfAgent,
  settledAttempts,
} from '../agents/agent-sessions.ts';
import { connectQueue, type Queryable, type Sql, type Tx } from '../database/connection.ts';
import type { BinaryQueryable } from '../database/driver/binary-connection.ts';
import { setupDatabase } from '../database/testing.ts';
import { storedContentBytes } from '../files/contents.ts';
import { unrestricted } from '../people/visibility.ts';
import {
  liveLeases,
  lockOpenTargetRuns,
  lockStepsAndNext,
  lockTargetRun,
  lockTargetRuns,
  lockWaitingSteps,
  openStepsOf,
  waitingStepsOf,
  worstOutputStates,
} from '../runs/progress/progress-rows.ts';
import {
  closeAllWaiting,
  returnUnbegun,
  writeNextLeases,
  writeRuns,
  writeSettledSteps,
  writeTargetRuns,
} from '../runs/progress/progress-writes.ts';
import {
  appendChunks,
  deleteOutputOf,
  deleteOutputOn,
  flushChunks,
  lockWritableAttempts,
  noteOutput,
} from '../runs/run-output.ts';
import { giveEndReason } from '../runs/runs.ts';
import {
  agentsForDueCleanUps,
  hastenCleanUpsOfTargetRun,
  takeDueCleanUps,
  unheardAttempts,
  wantCleanUps,
} from './attempts/clean-ups.ts';
import {
  detachedOfServer,
  forgetDetached,
  noteDetached,
  orphanAttempts,
  takenByOthers,
} from './attempts/detached-attempts.ts';
import {
  begunTargetRuns,
  countUntoldAttempts,
  lockEndedAttempts,
  unknownBeside,
  writeAttempts,
} from './attempts/step-attempts.ts';
import { claimNewRun, claimOnce, givenUpOfClaims, leasesOfClaims, newClaimId } from './claims/claims.ts';
import { leaseDetails } from './claims/lease-details.ts';
import { readyRanks, runsPastTimeout } from './strategy-steps.ts';
import { freeStaleLocks } from './sweep/lock-slots.ts';
import { moveOutputKeptFrom } from './sweep/retention.ts';
import {
  attemptsToStop,
  attemptsToStopOn,
  cancellingRuns,
  cancellingTargetRuns,
  expiredHolds,
  overdueAttempts,
  resumedTargetRuns,
  runsNotStarted,
} from './sweep/sweep.ts';
import { heldSteps, segmentQueues, stepCounts } from './waiting/queue-status.ts';
import { longWaits, runsThatWait } from './waiting/wait-bounds.ts';
import {
  listWaiting,
  lockHolders,
  runsBefore,
  segmentAgents,
  segmentsBefore,
} from './waiting/waiting-steps.ts';

const finishedTargets = 20_000;
const stepsEach = 10;
/** More steps than there are. */
const rowsOfSteps = 1.5 * finishedTargets * stepsEach;
/** Rows that PostgreSQL analyzes for each unit of a column's statistics target. */
const rowsPerStatistic = 300;
/** Tables that a claim may read whole; apart from `segments` they have one row or a few. */
const smallTables = ['segments', 'output_retention', 'content_bytes'];
/** Tables that must not be read whole; the partition that has output is added below. */
const bigTables = ['job_runs', 'job_run_steps', 'job_run_targets', 'job_run_step_attempts', 'contents'];

let t: TestRuns;
/** Like the gateway's connections. */
let queue: Sql;
let openRunId: number;
/** The day that has output. */
let outputDay: string;
/** Indexes without a predicate: reading one from end to end reads all rows of its table. */
let wholeIndexes: string[];
/**
 * Plans of the queue's statements from when the tables were new; a connection keeps such plans until the tables are
 * analyzed.
 */
const plansOfNew = new Map<string, Plan[]>();
beforeAll(async () => {
  // A borrowed database may have large empty tables and indexes, and plans depend on these.
  t = await setupRuns(setupDatabase());
  queue = connectQueue(t.sql, { max: 1 });
  const doneId = await t.start();
  openRunId = doneId;
  for (const [name, , work] of ofQueue) plansOfNew.set(name, await planned(work, whateverParameters));
  await t.settle(...(await t.claim()).map((lease) => endOf(lease)));
  await t.sql`
    insert into job_runs overriding system value
    select made.* from job_runs r cross join generate_series(1, ${finishedTargets}) n
    cross join lateral jsonb_populate_record(r, jsonb_build_object('id', -n)) made
    where r.id = ${doneId}`;
  await t.sql`
    insert into job_run_targets (job_run_id, segment_id, target_name, status)
    select ${doneId}, ${t.segmentId}, 'old-' || n, 'succeeded' from generate_series(1, ${finishedTargets}) n`;
  await t.sql`
    insert into job_run_steps (job_run_id, target_run_id, segment_id, step_number, step_type, time_budget_s, status, epoch)
    select tr.job_run_id, tr.id, tr.segment_id, n, 'ssh.exec', 70, 'succeeded', 1
    from job_run_targets tr cross join generate_series(2, ${stepsEach + 1}) n where tr.job_run_id = ${doneId}`;
  await t.sql`
    insert into job_run_step_attempts
      (job_run_step_id, epoch, job_run_id, agent_id, lease_token, attempt_day, leased_at, status, output_state)
    select id, 1, job_run_id, ${t.agent.agentId}, 'of the past', current_date, now(), 'succeeded', 'complete'
    from job_run_steps where job_run_id = ${doneId} and step_number = 2`;
  await t.sql`
    insert into run_output (attempt_day, job_run_step_id, epoch, seq, stream, elapsed_ms, raw_length, sha256, sealed)
    select attempt_day, job_run_step_id, epoch, 1, 1, 0, 1, '', '' from job_run_step_attempts
    where lease_token = 'of the past'`;
  openRunId = await t.start({ targets: 20, steps: 2 });
  const days = await t.sql<{ name: string; day: string }[]>`
    select distinct tableoid::regclass::text as name, attempt_day::text as day from run_output`;
  outputDay = days[0]?.day ?? '';
  bigTables.push(...days.map(({ name }) => name));
  // The plans are the same each time only if all rows are analyzed. By default a random 30,000 are: all of every other
  // table, but of steps perhaps none or all of the few that wait.
  await t.sql.unsafe(
    `alter table job_run_steps alter status set statistics ${rowsOfSteps / rowsPerStatistic}`,
  );
  await t.sql`analyze`;
  const whole = await t.sql<{ name: string }[]>`
    select indexrelid::regclass::text as name from pg_index
    where indrelid = any(${bigTables}::regclass[]) and indpred is null`;
  wholeIndexes = whole.map(({ name }) => name);
});
afterAll(async () => {
  await queue.end();
  await t[Symbol.asyncDispose]();
});

interface Plan {
  'Node Type': string;
  'Relation Name'?: string;
  'Index Name'?: string;
  'Index Cond'?: string;
  Disabled?: boolean;
  Plans?: Plan[];
}

type Explain = (send: PromiseLike<unknown>['then'], query: Described) => Promise<Plan>;

/** Returns the plan nodes of all statements that the work sends; each statement is answered with no rows. */
async function planned(work: (db: Sql) => Promise<unknown>, explain: Explain): Promise<Plan[]> {
  const nodes: Plan[] = [];
  const gather = (node: Plan): void => {
    nodes.push(node);
    node.Plans?.forEach(gather);
  };
  const spy = new Proxy(t.sql, {
    apply(target, self, args) {
      const query = Reflect.apply(target as never, self, args) as Described;
      const send = query.then;
      const answered = async () => gather(await explain(send, query));
      // A fragment of another statement is never awaited.
      // biome-ignore lint/suspicious/noThenProperty: the driver sends a statement when it is awaited.
      query.then = ((ok, failed) => answered().then(() => ok?.([] as never), failed)) as typeof send;
      return query;
    },
  });
  await work(spy);
  return nodes;
}

/** A query of the driver, which can describe its statement instead of running it. */
interface Described extends PromiseLike<unknown> {
  describe(): Described;
}

/** Plans with the actual parameters. */
const withParameters: Explain = async (_, query) =>
  rootOf(await t.sql`explain (format json) ${query as never}`);

/** Plans like the queue's connections: once, whatever the parameters. */
const whateverParameters: Explain = async (send, query) => {
  const { string, types } = await new Promise<{ string: string; types: number[] }>((told, failed) =>
    send.call(query.describe(), told as never, failed),
  );
  return queue.begin(async (tx) => {
    const [{ names }] = await tx<[{ names: string[] }]>`
      select array(select oid::regtype::text from unnest(${types}::oid[]) with ordinality u(oid, n) order by n) as names`;
    const inParentheses = (parts: string[]) => (parts.length === 0 ? '' : `(${parts.join(', ')})`);
    await tx.unsafe(`prepare planned ${inParentheses(names)} as ${string}`);
    const rows = await tx.unsafe(
      `explain (format json) execute planned ${inParentheses(names.map(() => 'null'))}`,
    );
    await tx`deallocate planned`;
    return rootOf(rows);
  });
};

function rootOf([row]: readonly object[]): Plan {
  const [{ Plan: root }] = Object.values(row ?? {})[0] as [{ Plan: Plan }];
  return root;
}

const indexesOf = (plan: Plan[]) => new Set(plan.flatMap((node) => node['Index Name'] ?? []));
/** Two indexes cover running steps, by agent and by segment; while there are few of them, either will do. */
const running = 'job_run_steps_running or job_run_steps_in_flight';
/** The steps of a target run. */
const ofTargetRun = 'job_run_steps_target_run_id_step_number_key or job_run_steps_run';
/** While few steps are ready, steps that wait for a lock are found just as fast among the ready ones. */
const waitingForLock = 'job_run_steps_waits_lock or job_run_steps_ready';
const readsFromEndToEnd = (node: Plan) =>
  (node['Node Type'] === 'Seq Scan' && bigTables.includes(node['Relation Name'] ?? '')) ||
  (node['Index Cond'] === undefined && wholeIndexes.includes(node['Index Name'] ?? ''));

/** Turns a statement with binary parameters into one of the driver's; the plan is the same. */
const throughDriver = (db: Sql): BinaryQueryable => ({
  async query(statement, parameters) {
    const numbers = [...statement.matchAll(/\$(\d+)/g)].map(([, number]) => Number(number));
    const texts = statement.split(/\$\d+/);
    await db(
      Object.assign(texts, { raw: texts }) as never,
      ...numbers.map((number) => {
        const value = parameters[number - 1] ?? null;
        return Array.isArray(value) ? Buffer.concat(value) : value;
      }),
    );
    return [];
  },
});

type Reading = [string, string[], (db: Sql) => Promise<unknown>];

/**
 * What the gateway and starts of runs send, over connections that plan each statement once, with the indexes that each
 * must use.
 */
const ofQueue: Reading[] = [
  ['claimOnce', [running, 'job_run_steps_ready'], (db) => claimOnce(db, testServerId)],
  [
    'claimNewRun',
    ['job_run_steps_ready'],
    (db) =>
      claimNewRun(db, testServerId, {
        claimId: newClaimId(),
        run: { jobRunId: openRunId, claimRank: 0, segmentIds: [t.segmentId] },
        held: [{ agentId: t.agent.agentId, steps: 0 }],
      }),
  ],
  ['leaseDetails', ['job_run_steps_pkey'], (db) => leaseDetails(db, [1, 2])],
  ['lockTargetRuns', ['job_run_steps_pkey'], (db) => lockTargetRuns(db as unknown as Tx, [1, 2])],
  ['lockStepsAndNext', ['job_run_steps_pkey'], (db) => lockStepsAndNext(db as unknown as Tx, [1, 2])],
  [
    'lockStepsAndNext, with more ahead',
    ['job_run_steps_pkey'],
    (db) => lockStepsAndNext(db as unknown as Tx, [1, 2], [7, 0]),
  ],
  ['unknownBeside', ['job_run_steps_pkey'], (db) => unknownBeside(db as unknown as Tx, [1, 2])],
  ['returnUnbegun', [`job_run_steps_pkey or ${running}`], (db) => returnUnbegun(db as unknown as Tx, [1, 2])],
  [
    'lockEndedAttempts',
    ['job_run_step_attempts_pkey'],
    (db) => lockEndedAttempts(db as unknown as Tx, [{ stepId: 1, epoch: 1 }]),
  ],
  [
    'liveLeases',
    [`job_run_steps_pkey or ${running}`],
    (db) => liveLeases(db as unknown as Tx, [{ id: 1, epoch: 1 }]),
  ],
  // The parameters of these don't affect their plans.
  ['writeRuns', ['job_runs_pkey'], (db) => writeRuns(db as unknown as Tx, [{}] as never)],
  ...[markStarted, writeTargetRuns, lockWritableAttempts, noteOutput, noteDetached, forgetDetached].map(
    (write): Reading => [write.name, [], (db) => write(db as never, [{}] as never)],
  ),
  ...[writeAttempts, writeSettledSteps, writeNextLeases].map(
    (write): Reading => [
      write.name,
      ['job_run_steps_pkey'],
      (db) => write(db as never, [{}] as never, new Date()),
    ],
  ),
  [
    'appendChunks',
    ['job_run_steps_pkey'],
    (db) =>
      appendChunks(throughDriver(db), [
        { stepId: 1, sealed: Buffer.alloc(1), sha256: Buffer.alloc(32), stream: 'stdout' } as never,
      ]),
  ],
  [
    'appendChunks, a single one that a reader waits for',
    ['job_run_steps_pkey'],
    (db) =>
      appendChunks(
        throughDriver(db),
        [
          {
            ...{ stepId: 1, epoch: 1, agentId: 1, sessionNumber: 1, seq: 1, elapsedMs: 0, rawLength: 1 },
            ...{ attemptDay: outputDay, stream: 'stdout', sha256: Buffer.alloc(32), sealed: Buffer.alloc(1) },
          },
        ],
        'committed',
      ),
  ],
  ['flushChunks', ['job_run_steps_pkey'], (db) => flushChunks(db, [{ stepId: 1, epoch: 1, seq: 1 }])],
  ['readyRanks', ['job_run_steps_ready'], (db) => readyRanks(db as unknown as Tx, [1, 2])],
  ['worstOutputStates', ['job_run_steps_run'], (db) => worstOutputStates(db as unknown as Tx, [openRunId])],
  ['attemptsToStop', ['job_run_step_attempts_given_up'], (db) => attemptsToStop(db, [openRunId])],
  ['attemptsToStopOn', ['job_run_targets_pkey'], (db) => attemptsToStopOn(db, [1, 2])],
  ['runningStepsOfAgent', [running], (db) => runningStepsOfAgent(db as unknown as Tx, t.agent.agentId)],
  [
    'settledAttempts',
    ['job_run_step_attempts_pkey', 'job_run_steps_pkey', 'job_runs_pkey'],
    (db) => settledAttempts(db as unknown as Tx, t.agent.agentId, [{ step: 1, epoch: 1 }]),
  ],
  [
    'awaitedAttempts',
    ['job_run_step_attempts_pkey'],
    (db) => awaitedAttempts(db, t.agent.agentId, [{ stepId: 1, epoch: 1 }]),
  ],
  [
    'readySessions',
    [running, 'job_run_step_attempts_unheard'],
    (db) => readySessions(db, [{ agentId: t.agent.agentId } as never], { onlyIdle: true }),
  ],
  [
    'unheardAttempts',
    ['job_run_step_attempts_unheard'],
    (db) => unheardAttempts(db as unknown as Tx, t.agent.agentId),
  ],
  ['leasesOfClaims', [running], (db) => leasesOfClaims(db, testServerId, ['0123456789abcdef'])],
  [
    'givenUpOfClaims',
    ['job_run_step_attempts_unheard'],
    (db) => givenUpOfClaims(db, [{ agentId: t.agent.agentId, sessionNumber: 1 }], ['0123456789abcdef']),
  ],
  [
    'takenByOthers',
    ['job_run_step_attempts_pkey', 'job_run_steps_pkey'],
    (db) => takenByOthers(db, t.agent.agentId, [{ step: 1, epoch: 1, leaseToken: 'held' }]),
  ],
  [
    'wantCleanUps',
    ['job_run_steps_pkey'],
    (db) =>
      wantCleanUps(db as unknown as Tx, [{ stepId: 1, epoch: 1, segmentId: t.segmentId, atOnce: false }]),
  ],
  [
    'agentsForDueCleanUps',
    ['job_run_steps_pkey'],
    (db) => agentsForDueCleanUps(db, [{ agentId: t.agent.agentId, segmentId: t.segmentId }]),
  ],
  [
    'takeDueCleanUps',
    ['job_run_steps_pkey'],
    (db) => takeDueCleanUps(db, { segmentId: t.segmentId, agentId: t.agent.agentId }, 32),
  ],
  ['detachedOfServer', [], (db) => detachedOfServer(db, testServerId)],
  ['storedContentBytes', [], storedContentBytes],
  ['orphanAttempts', [], (db) => orphanAttempts(db, [{}] as never, { expected: false })],
];

/** What the sweeper and requests send, over connections that may plan each statement again. */
const ofOthers: Reading[] = [
  [
    'listWaiting',
    ['job_run_steps_ready', running],
    (db) => listWaiting(db, openRunId, unrestricted, { ends: true }),
  ],
  ['longWaits', ['job_run_steps_ready', running], (db) => longWaits(db, openRunId)],
  ['segmentsBefore', ['job_run_steps_ready'], (db) => segmentsBefore(db, [1], 0)],
  ['runsBefore', ['job_run_steps_ready'], (db) => runsBefore(db, 1, 0, unrestricted)],
  ['segmentAgents', [], (db) => segmentAgents(db, [1])],
  ['lockHolders', [], (db) => lockHolders(db, openRunId, unrestricted)],
  ['freeStaleLocks', [waitingForLock], (db) => freeStaleLocks(db as unknown as Tx)],
  ['overdueAttempts', [running], (db) => overdueAttempts(db, 60)],
  ['expiredHolds', [], expiredHolds],
  ['runsNotStarted', [], runsNotStarted],
  ['runsPastTimeout', [], runsPastTimeout],
  ['runsThatWait', ['job_run_steps_ready or job_run_steps_run'], runsThatWait],
  ['cancellingRuns', [], (db) => cancellingRuns(db, testServerId)],
  ['cancellingTargetRuns', ['job_run_targets_cancelled'], (db) => cancellingTargetRuns(db, testServerId)],
  ['resumedTargetRuns', ['job_run_targets_cancelled'], resumedTargetRuns],
  ['heldSteps', ['job_run_steps_held'], (db) => heldSteps(db as Queryable, unrestricted)],
  ['stepCounts', ['job_run_steps_held'], (db) => stepCounts(db as Queryable, unrestricted)],
  [
    'moveOutputKeptFrom',
    [running, 'job_run_steps_held'],
    (db) => moveOutputKeptFrom(db as unknown as Tx, '2001-02-03'),
  ],
  ['deleteOutputOf', ['job_run_steps_run'], (db) => deleteOutputOf(db as unknown as Tx, [openRunId])],
  [
    'deleteOutputOn',
    ['job_run_steps_run'],
    (db) => deleteOutputOn(db as unknown as Tx, outputDay, [openRunId]),
  ],
  ['segmentQueues', [], (db) => segmentQueues(db as Queryable, unrestricted)],
  ['lockWaitingSteps', ['job_run_steps_run'], (db) => lockWaitingSteps(db as unknown as Tx, openRunId)],
  [
    'lockWaitingSteps, of one target run',
    [ofTargetRun],
    (db) => lockWaitingSteps(db as unknown as Tx, openRunId, [1]),
  ],
  ['openStepsOf, of one target run', [], (db) => openStepsOf(db as unknown as Tx, openRunId, [1])],
  ['begunTargetRuns, of one', [ofTargetRun], (db) => begunTargetRuns(db as unknown as Tx, openRunId, [1])],
  [
    'countUntoldAttempts, of one target run',
    [ofTargetRun],
    (db) => countUntoldAttempts(db as unknown as Tx, openRunId, 1),
  ],
  ['hastenCleanUpsOfTargetRun', [ofTargetRun], (db) => hastenCleanUpsOfTargetRun(db as unknown as Tx, 1)],
  ['giveEndReason', ['job_run_targets_pkey'], (db) => giveEndReason(db as unknown as Tx, 1, 'Cancelled.')],
  [
    'lockTargetRun',
    ['job_run_targets_pkey or job_run_targets_run'],
    (db) => lockTargetRun(db as unknown as Tx, openRunId, 1),
  ],
  [
    'lockOpenTargetRuns, one of them',
    ['job_run_targets_pkey or job_run_targets_run'],
    (db) => lockOpenTargetRuns(db as unknown as Tx, openRunId, [1]),
  ],
  ['waitingStepsOf', [], (db) => waitingStepsOf(db as unknown as Tx, [1, 2])],
  [
    'closeAllWaiting',
    [],
    (db) => closeAllWaiting(db as unknown as Tx, { runId: openRunId, targetRunIds: [1, 2] }, ended, told),
  ],
];
const ended = { status: 'cancelled', reason: null, message: null } as const;
const told = { stepsEach: 1_000, afterSeq: 0, at: new Date(), change: {} };

function expectIndexes(plan: Plan[] | undefined = [], indexes: string[] = []): void {
  expect(plan).not.toEqual([]);
  expect(plan.filter(readsFromEndToEnd)).toEqual([]);
  const whole = plan
    .filter((node) => node.Disabled)
    .map((node) => node['Relation Name'] ?? node['Node Type']);
  expect(whole.filter((name) => !smallTables.includes(name))).toEqual([]);
  const used = indexesOf(plan);
  expect(indexes.filter((either) => !either.split(' or ').some((index) => used.has(index)))).toEqual([]);
}

test('an agent that comes back causes no partition of output to be read', async () => {
  const plan = await planned(
    (db) => unheardAttempts(db as unknown as Tx, t.agent.agentId),
    whateverParameters,
  );
  expect(plan.filter((node) => node['Relation Name']?.startsWith('run_output'))).toEqual([]);
});

test.each([...ofQueue, ...ofOthers])('%s reads steps only by an index', async (_, indexes, work) =>
  expectIndexes(await planned(work, withParameters), indexes),
);

test.each(ofQueue)('%s reads steps only by an index, whatever its parameters', async (_, indexes, work) =>
  expectIndexes(await planned(work, whateverParameters), indexes),
);

test.each(ofQueue)('%s reads steps only by an index, even as planned when the tables were new', (name) =>
  expectIndexes(plansOfNew.get(name)),
);

test('output of runs is deleted from the day’s partition without reading the others', async () => {
  const plan = await planned(
    (db) => deleteOutputOn(db as unknown as Tx, outputDay, [openRunId]),
    withParameters,
  );
  const partitions = plan
    .map((node) => node['Relation Name'])
    .filter((name) => name?.startsWith('run_output_'));
  expect([...new Set(partitions)]).toEqual([`run_output_${outputDay.replaceAll('-', '')}`]);
});

test('steps are counted without reading any run', async () => {
  const plan = await planned((db) => stepCounts(db as Queryable, unrestricted), withParameters);
  expect(plan.flatMap((node) => node['Relation Name'] ?? [])).toEqual(Array(3).fill('job_run_steps'));
});
