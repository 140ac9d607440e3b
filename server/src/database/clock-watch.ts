// Compares the clock of this server with that of its database, as either may be wrong: each decides about some things.
import type { Log } from '../log.ts';
import { Rounds } from '../rounds.ts';
import type { Sql } from '../store/database/connection.ts';
import { databaseTime } from '../store/database/database-time.ts';

const defaultPauseMs = 60_000;
/** Whatever is made by one clock and judged by the other lasts for minutes. */
const maxSkewMs = 5_000;

export interface ClockWatchDeps {
  sql: Sql;
  log: Pick<Log, 'info' | 'warn'>;
  /** The clock of this server. */
  now: () => Date;
  pauseMs?: number;
}

export class ClockWatch {
  readonly #deps: ClockWatchDeps;
  readonly #rounds: Rounds;
  #isTold = false;

  constructor(deps: ClockWatchDeps) {
    this.#deps = deps;
    this.#rounds = new Rounds({ work: () => this.look(), pauseMs: deps.pauseMs ?? defaultPauseMs });
  }

  start(): void {
    this.#rounds.start();
  }

  async stop(): Promise<void> {
    await this.#rounds.stop();
  }

  /** Compares once. Logs a difference when it begins, and its end. Never rejects: a lost database is told elsewhere. */
  async look(): Promise<void> {
    const { log } = this.#deps;
    const aheadMs = await this.#ahead().catch(() => undefined);
    if (aheadMs === undefined) return;
    const isApart = Math.abs(aheadMs) > maxSkewMs;
    if (isApart === this.#isTold) return;
    this.#isTold = isApart;
    if (!isApart) {
      log.info('the clocks of this server and of its database agree again');
      return;
    }
    const skew = `${Math.round(Math.abs(aheadMs) / 1_000)} s ${aheadMs > 0 ? 'ahead of' : 'behind'}`;
    log.warn(
      `the clock of this server is ${skew} that of its database; correct the wrong one, and keep both in sync with NTP. Leases, deadlines and retention go by the database's; sessions, tokens, signed runs and certificates by this server's`,
    );
  }

  /** By how much this server's clock is ahead at the least, however long the answer took. */
  async #ahead(): Promise<number> {
    const { sql, now } = this.#deps;
    const before = now().getTime();
    const there = (await databaseTime(sql)).getTime();
    const after = now().getTime();
    if (there < before) return before - there;
    return there > after ? after - there : 0;
  }
}
