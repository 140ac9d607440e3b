// Creates the partitions for the days that output will come to, and removes what nobody needs any more. This is
// separate from the sweep, which must not wait for removals that may take hours. Every server does this; what must not
// be done twice is done by one server at a time.
import { expireFiles } from '../../files/expire-files.ts';
import type { Log } from '../../log.ts';
import type { Sql } from '../../store/database/connection.ts';
import { inTransaction } from '../../store/database/transaction.ts';
import { addUpContentBytes, deleteUnfinishedContents } from '../../store/files/contents.ts';
import { forgetEndedOrphans } from '../../store/queue/attempts/detached-attempts.ts';
import { forgetUnusedLocks } from '../../store/queue/sweep/lock-slots.ts';
import { mendOutputKeptFrom } from '../../store/queue/sweep/retention.ts';
import {
  deleteExpired,
  leaptMessage,
  type RemovalClock,
  removalClock,
} from '../../store/queue/sweep/sweep.ts';
import { makeOutputPartitions } from '../../store/runs/run-output.ts';
import { applyRetention, type RetentionDeps } from '../output/retention.ts';
import { eachOf } from './each-of.ts';

const lookMs = 1_000;
/** Partitions exist for some days ahead, but that doesn't help if the clock was set. */
const daysEveryMs = 60_000;
const removeEveryMs = 3_600_000;
const mendEveryMs = 3_600_000;

export interface HousekeeperDeps {
  sql: Sql;
  log: Log;
  /** How many days output, runs and files are kept. They are kept forever if left out. */
  retention?: (Pick<RetentionDeps, 'outputDays' | 'runDays'> & { fileDays?: number | undefined }) | undefined;
}

interface Chore {
  everyMs: number;
  /** Time on the monotonic clock, which nobody can set. */
  dueAt: number;
  work(): Promise<void>;
  failure: string;
  running?: Promise<void> | undefined;
}

export class Housekeeper {
  readonly #deps: HousekeeperDeps;
  readonly #stopping = new AbortController();
  readonly #chores: readonly Chore[];
  #timer: NodeJS.Timeout | undefined;

  constructor(deps: HousekeeperDeps) {
    this.#deps = deps;
    const dueAt = performance.now();
    this.#chores = [
      {
        everyMs: daysEveryMs,
        dueAt,
        work: () => makeOutputPartitions(deps.sql),
        failure:
          'partitions for the output of the coming days could not be created; this is retried in a minute',
      },
      {
        everyMs: removeEveryMs,
        dueAt,
        work: () => this.#remove(),
        failure: 'removing old and unused data failed; this is retried in an hour',
      },
      {
        everyMs: mendEveryMs,
        // The clock of a machine that has just started may be behind.
        dueAt: dueAt + mendEveryMs,
        work: () => this.#mendKeptFrom(),
        failure: 'the day from which output is kept could not be checked; this is retried in an hour',
      },
    ];
  }

  start(): void {
    this.#timer = setInterval(() => void this.round(), lookMs);
  }

  /** Stops long work before its next part. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#stopping.abort();
    await Promise.all(this.#chores.map(({ running }) => running));
  }

  /** Does everything that is due and not already in progress, and resolves when that is done. */
  async round(): Promise<void> {
    const due = this.#chores.filter(
      ({ running, dueAt }) => running === undefined && dueAt <= performance.now(),
    );
    await Promise.all(due.map((chore) => this.#begin(chore)));
  }

  #begin(chore: Chore): Promise<void> {
    chore.dueAt = performance.now() + chore.everyMs;
    chore.running = chore
      .work()
      .catch((error) => this.#deps.log.error({ err: error }, chore.failure))
      .finally(() => {
        chore.running = undefined;
      });
    return chore.running;
  }

  async #mendKeptFrom(): Promise<void> {
    const { sql, log, retention } = this.#deps;
    const keptFrom = await mendOutputKeptFrom(sql, retention?.outputDays);
    if (keptFrom !== undefined)
      log.warn(
        { keptFrom },
        'the day from which output is kept was in the future, as after a wrong clock; it was set back, and new output is kept',
      );
  }

  async #remove(): Promise<void> {
    const { sql, retention } = this.#deps;
    const clock = await removalClock(sql);
    await eachOf([
      () => deleteExpired(sql),
      () => inTransaction(sql, (tx) => forgetUnusedLocks(tx)),
      () => forgetEndedOrphans(sql),
      async () => {
        if (!clock.mayBeAhead) await deleteUnfinishedContents(sql, clock.now);
      },
      () => addUpContentBytes(sql),
      async () => {
        if (retention !== undefined && Object.values(retention).some((days) => days !== undefined))
          await this.#removeOld(retention, clock);
      },
    ]);
  }

  async #removeOld(
    retention: NonNullable<HousekeeperDeps['retention']>,
    { now, mayBeAhead }: RemovalClock,
  ): Promise<void> {
    const { sql, log } = this.#deps;
    const { signal } = this.#stopping;
    if (mayBeAhead) {
      log.warn({ now }, `${leaptMessage}: no old output, runs or files are removed for a day`);
      return;
    }
    const removed = await applyRetention({ sql, log, ...retention, now, signal });
    if (removed.partitions + removed.runs > 0)
      log.info(removed, 'removed output and runs older than their retention');
    const { fileDays } = retention;
    if (fileDays === undefined || signal.aborted) return;
    const files = await expireFiles(sql, fileDays, now, signal);
    if (files > 0)
      log.info({ files }, 'removed files that no job names and no step has used for --file-retention-days');
  }
}
