// Says who keeps servers waiting with a lock in the database: a table that somebody has locked, altered or rewritten, or
// a transaction that was forgotten. Nothing fails then; requests and runs only stand still.
import type { Log } from '../log.ts';
import { Rounds } from '../rounds.ts';
import type { Sql } from '../store/database/connection.ts';
import { readLockWaits } from '../store/database/lock-waits.ts';

const defaultPauseMs = 10_000;
const defaultLeastMs = 10_000;

export interface LockWatchDeps {
  /** A connection that does not wait for locks itself; `undefined` while there is none. */
  connection(): Sql | undefined;
  log: Pick<Log, 'info' | 'warn'>;
  pauseMs?: number;
  /** How long a statement has to wait to be told. */
  leastMs?: number;
}

export class LockWatch {
  readonly #deps: LockWatchDeps;
  readonly #rounds: Rounds;
  /** Process ids of those that were told. */
  #told = '';

  constructor(deps: LockWatchDeps) {
    this.#deps = deps;
    this.#rounds = new Rounds({ work: () => this.look(), pauseMs: deps.pauseMs ?? defaultPauseMs });
  }

  start(): void {
    this.#rounds.start();
  }

  async stop(): Promise<void> {
    await this.#rounds.stop();
  }

  /** Looks once. Logs when it begins, when others hold the lock, and its end. Never rejects: a lost database is told elsewhere. */
  async look(): Promise<void> {
    const { connection, log, leastMs = defaultLeastMs } = this.#deps;
    const sql = connection();
    if (sql === undefined) return;
    const waits = await readLockWaits(sql, leastMs).catch(() => null);
    if (waits === null) return;
    const pids = waits?.holders.map(({ pid }) => pid).join() ?? '';
    if (pids === this.#told) return;
    this.#told = pids;
    if (waits === undefined) {
      log.info('nothing waits any more for a lock that others hold in the database');
      return;
    }
    const { holders, statements, longestMs } = waits;
    log.warn(
      { holders, statements, waitedS: Math.round(longestMs / 1_000) },
      'requests or runs wait for a lock that others hold in the database; they go on when the transactions of these processes end',
    );
  }
}
