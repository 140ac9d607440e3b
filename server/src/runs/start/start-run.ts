// Starts a run of a job version on the chosen targets with the given values. A run is either queued as a whole or
// refused as a whole.
import type { JobDefinition } from '@opsconductor/protocol';
import { recordAudit } from '../../audit/record-audit.ts';
import type { Caller } from '../../caller.ts';
import { newDataKey } from '../../credentials/at-rest/data-key.ts';
import type { MasterKey } from '../../credentials/at-rest/master-key.ts';
import { notFound } from '../../errors.ts';
import { resolveVersion } from '../../jobs/versions/resolve-version.ts';
import { type Queryable, type Sql, sqlState, type Tx } from '../../store/database/connection.ts';
import {
  boundLockWaits,
  commitWithThese,
  hasCommitted,
  inTransaction,
} from '../../store/database/transaction.ts';
import { notifyProgress } from '../../store/runs/progress/progress-notices.ts';
import { holdForRun, insertRun, planRun, type RunPlan } from '../../store/runs/run-creation.ts';
import { bindToAgents, isGrantUsed } from '../../store/runs/run-grants.ts';
import { insertRunSecrets, writeStepOutputs } from '../../store/runs/run-values.ts';
import { findRun, type RunRecord } from '../../store/runs/runs.ts';
import type { SelectedRow } from '../../store/targets/target-selection.ts';
import { Turns } from '../../turns/turns.ts';
import type { ClaimAlong, ClaimsAlong } from '../leases/claim-along.ts';
import type { ProgressNews } from '../progress/run-ledger.ts';
import type { RunKeys } from '../run-keys.ts';
import { carriedOutputs } from '../values/carry-outputs.ts';
import { type DecidedStart, decideStart } from './decide-start.ts';
import { requireRunnable } from './require-startable.ts';
import { runNumbers } from './run-numbers.ts';
import type { StartRun } from './start-request.ts';
import { resolveTargets } from './start-targets.ts';

/**
 * Runs with more targets are claimed separately, because nothing else could be claimed until all their rows are
 * written.
 */
const maxTargetsClaimedAlong = 100;
/**
 * How long a start waits for locks at its first attempt. While it waits it occupies a turn that another start could
 * use, and possibly the server's claim, so that the server makes no other claim.
 */
const maxFirstLockWaitMs = 250;
/**
 * Lock waits of a start that has met a lock and tries again: `later` until it holds the job and the targets, `held` for
 * locks after that. They are shorter if other starts wait behind it.
 */
const maxLockWaitMs = { alone: { later: 500, held: 5_000 }, inFrontOfOthers: { later: 50, held: 500 } };
const lockNotAvailable = '55P03';
const nothingNew: ProgressNews = { runs: [], segments: [], cancel: [] };
/**
 * Violations by a reference to a row that no longer exists, and by a reference that is null because the row was
 * deleted.
 */
const goneViolations: readonly (string | undefined)[] = ['23503', '23502'];

export interface StartRunDeps {
  sql: Sql;
  /** The pool that writes the run, instead of `sql`. */
  queue?: Sql;
  masterKey: MasterKey;
  identity: { installationId: string };
  /** Remembers the run's data key, so that the run's first output needn't wait for it to be read. */
  keys?: Pick<RunKeys, 'remember'>;
  /** Leases the run's first steps in the same transaction. */
  claims?: ClaimsAlong;
}

/** Reads of a new run what its starter is answered with. */
export type ReadBack<T> = (db: Queryable, runId: number) => Promise<T>;

export interface Started<T = RunRecord | undefined> {
  runId: number;
  /** Changes that still have to be published on this server. */
  news: ProgressNews;
  /**
   * What was read of the run right after its commit. Rejects if the connection was lost before the answer arrived.
   * Absent for a run that was started before.
   */
  read?: Promise<T>;
}

/** Starts a run and reads it as it was committed. @throws {AppError} as `startAndRead` does. */
export function startRun(deps: StartRunDeps, request: StartRun, caller: Caller): Promise<Started> {
  return startAndRead(deps, request, caller, findRun);
}

/**
 * Starts a run on the targets that the selection resolves to. What `readBack` reads takes no round trip of its own.
 *
 * @throws {AppError} `not_found` for a job, target or group that the caller doesn't see; `forbidden` if they may not
 * run the job, run on a target or use credentials there; `invalid` for targets that can't be run on; `conflict` if the
 * job may not be run now. Each names the place in the request, or the targets.
 */
export async function startAndRead<T>(
  deps: StartRunDeps,
  request: StartRun,
  caller: Caller,
  readBack: ReadBack<T>,
): Promise<Started<T>> {
  const { turns, waiters } = placesOf(deps.queue ?? deps.sql);
  try {
    return await inTurn(turns, () => queueOrReadAgain({ ...deps, readBack }, request, caller));
  } catch (error) {
    if (!isHeldByOthers(error)) throw error;
  }
  const { claims: _, ...alone } = deps;
  const again = () => {
    const waits = waiters.areAwaited ? maxLockWaitMs.inFrontOfOthers : maxLockWaitMs.alone;
    return queueOrReadAgain({ ...alone, readBack, waits }, request, caller);
  };
  for (;;) {
    try {
      return await inTurn(waiters, () => inTurn(turns, again));
    } catch (error) {
      if (!isHeldByOthers(error)) throw error;
    }
  }
}

interface Places {
  turns: Turns;
  /** Admits one at a time those starts that have met a lock. */
  waiters: Turns;
}

const placesOfPools = new WeakMap<Sql, Places>();

/**
 * Starts may use half of the pool's connections. Each start keeps its transaction open while it reads over the other
 * pool; the other half is left for what agents send. Without a separate pool for the queue, starts also read over this
 * one, and need the rest for that.
 *
 * Of the starts that have met a lock of others, such as of someone who is deleting one of their targets, only one at a
 * time uses a turn. It waits for a moment, a shorter one if others wait behind it, and then the next one tries.
 */
function placesOf(sql: Sql): Places {
  const places = placesOfPools.get(sql) ?? {
    turns: new Turns(Math.max(1, Math.floor(sql.options.max / 2))),
    waiters: new Turns(1),
  };
  placesOfPools.set(sql, places);
  return places;
}

async function inTurn<T>(turns: Turns, work: () => Promise<T>): Promise<T> {
  await turns.take();
  try {
    return await work();
  } finally {
    turns.done();
  }
}

function isHeldByOthers(error: unknown): boolean {
  return sqlState(error) === lockNotAvailable;
}

async function queueOrReadAgain<T>(
  deps: QueueDeps<T>,
  request: StartRun,
  caller: Caller,
): Promise<Started<T>> {
  try {
    return await queueRun(deps, request, caller);
  } catch (error) {
    // The job or a target was deleted since it was read, or the grant was used. Reading again finds out which and
    // reports it.
    if (!goneViolations.includes(sqlState(error)) && !isGrantUsed(error)) throw error;
    return await queueRun(deps, request, caller);
  }
}

/** `waits`: set after the start has met a lock. It must then get its locks before it writes anything. */
type QueueDeps<T> = StartRunDeps & { readBack: ReadBack<T>; waits?: { later: number; held: number } };

/** Fails with 55P03 if others hold a lock that it needs for longer than it may wait. */
async function queueRun<T>(deps: QueueDeps<T>, request: StartRun, caller: Caller): Promise<Started<T>> {
  const { sql } = deps;
  // Read while the transaction opens, and written together with its commit, because a person waits for each round trip.
  const readingJob = readJob(sql, request.jobId, caller);
  const readingVersion = versionOf(sql, request);
  const readingTargets = readingVersion.then((version) => resolveTargets(sql, request, version, caller));
  // Errors are handled when these are awaited in the transaction. This avoids unhandled rejections if the transaction
  // can't be opened, and reports the job's error first, whichever comes first.
  for (const reading of [readingJob, readingVersion, readingTargets]) reading.catch(() => undefined);
  const dataKey = newDataKey();
  const claim = new OneClaim();
  let isSent = false;
  const work = async (tx: Tx): Promise<Started<T>> => {
    const job = await readingJob;
    const version = (await readingVersion) ?? job.version;
    const chosen = await readingTargets;
    if (deps.waits) {
      await boundLockWaits(tx, deps.waits.later);
      await holdForRun(
        tx,
        request.jobId,
        chosen.targets.map(({ id }) => id),
      );
    }
    const maxWaitMs = deps.waits?.later ?? maxFirstLockWaitMs;
    const toDecide = { request, caller, job, version, dataKey, maxLockWaitMs: maxWaitMs, ...chosen };
    const decided = await decideStart(deps, tx, toDecide);
    const { news } = decided;
    const along =
      chosen.targets.length > maxTargetsClaimedAlong
        ? undefined
        : claim.begin(deps.claims?.claimAlong(news), tx);
    try {
      isSent = true;
      const read = await writeStart(deps, tx, { request, dataKey, decided, along });
      return { runId: job.runId, news: along === undefined ? news : nothingNew, ...read };
    } finally {
      claim.over();
    }
  };
  try {
    const started = await inTransaction(deps.queue ?? sql, work);
    deps.keys?.remember(started.runId, dataKey);
    return started;
  } catch (error) {
    if (!isSent) readingJob.then(({ runId }) => runNumbers(sql).putBack(runId)).catch(() => undefined);
    throw error;
  } finally {
    // If a connection is lost, the driver may drop statements without settling them, and then `work` never ends.
    claim.over();
  }
}

/** Sends everything that the start writes, with its commit behind it. */
async function writeStart<T>(
  { masterKey, readBack, waits }: QueueDeps<T>,
  tx: Tx,
  start: { request: StartRun; dataKey: Buffer; decided: DecidedStart; along: ClaimAlong | undefined },
): Promise<Pick<Started<T>, 'read'>> {
  const { request, dataKey, decided, along } = start;
  const { newRun, definition, given, signed, audit, news, toClaim } = decided;
  const bound = boundLockWaits(tx, waits?.held ?? maxFirstLockWaitMs);
  // Awaited below, unless something fails before that.
  bound.catch(() => undefined);
  const inserted = insertRun(tx, newRun);
  const carried = leavesOutOutputs(request, definition)
    ? await inserted.then(() =>
        carriedOutputs({ sql: tx, masterKey }, { from: request.rerun?.runId ?? 0, to: newRun.id, dataKey }),
      )
    : [];
  const sent = [
    bound,
    inserted,
    bindToAgents(tx, newRun.id, signed?.bound ?? []),
    writeStepOutputs(tx, carried),
    insertRunSecrets(tx, newRun.id, given.secrets?.secrets ?? []),
    recordAudit(tx, audit),
    notifyProgress(tx, news),
  ];
  if (along !== undefined) sent.push(along.claim(tx, toClaim));
  sent.push(commitWithThese(tx));
  const read = readBack(tx, newRun.id);
  // Handled by the caller, unless nothing was committed.
  read.catch(() => undefined);
  await Promise.all(sent);
  return { read };
}

/**
 * The claim that goes along with a transaction. No other claim is made until `over` is called, so that must always
 * happen.
 */
class OneClaim {
  #over: (() => void) | undefined;

  begin(along: ClaimAlong | undefined, tx: Tx): ClaimAlong | undefined {
    this.over();
    if (along !== undefined) this.#over = () => along.over(hasCommitted(tx));
    return along;
  }

  over(): void {
    this.#over?.();
    this.#over = undefined;
  }
}

/** Returns the version and targets that such a run would have. It is refused as the start would be. */
export async function planStart(
  sql: Sql,
  request: Pick<StartRun, 'jobId' | 'selection' | 'version'>,
  caller: Caller,
): Promise<{ jobVersion: number; targets: SelectedRow[] }> {
  const job = await readJob(sql, request.jobId, caller);
  runNumbers(sql).putBack(job.runId);
  const version = await versionOf(sql, request);
  const { targets } = await resolveTargets(sql, request, version, caller);
  return { jobVersion: version ?? job.version, targets };
}

/** Whether the rerun leaves out steps that may have handed something on. */
function leavesOutOutputs({ rerun }: StartRun, { steps }: JobDefinition): boolean {
  return (
    rerun !== undefined && rerun.firstSteps.size > 0 && steps.some(({ outputs }) => outputs !== undefined)
  );
}

/** Reads the job if the caller may run it. Targets are checked by `resolveTargets`. */
async function readJob(sql: Sql, jobId: number, caller: Caller): Promise<RunPlan> {
  const numbers = runNumbers(sql);
  const job = await numbers.draw((unused) => planRun(sql, jobId, unused));
  if (job === undefined) throw notFound(`Job ${jobId}`);
  try {
    requireRunnable(job, jobId, caller);
  } catch (error) {
    numbers.putBack(job.runId);
    throw error;
  }
  return job;
}

/** Returns the version that was asked for, or `undefined` for the current one. */
async function versionOf(
  sql: Sql,
  { jobId, version, rerun }: Pick<StartRun, 'jobId' | 'version' | 'rerun'>,
): Promise<number | undefined> {
  if (rerun !== undefined) return rerun.jobVersion;
  return version === undefined ? undefined : resolveVersion(sql, jobId, version);
}
