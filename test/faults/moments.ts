// Waits for the moments named in a plan: a frame that passes a relay, a command that begins on a target, a time.
import { type FSWatcher, watch } from 'node:fs';
import type { Sql } from '../../server/src/store/database/connection.ts';
import type { Cluster } from './cluster.ts';
import type { Moment } from './plan-round.ts';
import { pause } from './waiting.ts';

/** How often the number of rows in a status is checked, while something waits for it. */
const lookMs = 150;

/** The parts of the system under test that reveal moments. */
type Watched = Pick<Cluster, 'sql' | 'linesDir' | 'onFrame'>;

type FrameMoment = Extract<Moment, { at: 'frame' }>;

interface Waiting {
  moment: Moment;
  /** Called in the very turn of the event loop in which the moment comes. */
  act(): void;
  timer: NodeJS.Timeout | undefined;
  /** How many frames of its kind had already passed, and don't count. */
  before: number;
}

export class Moments {
  readonly #cluster: Watched;
  readonly #latestMs: number;
  readonly #waiting = new Set<Waiting>();
  readonly #seen = new Map<string, number>();
  readonly #watcher: FSWatcher;
  readonly #runIds: () => readonly number[];
  #lines = 0;
  /** The files of steps, one for each target. */
  readonly #commands = new Set<string>();
  #begun = false;
  #isOver = false;

  /**
   * @param latestMs a moment that has not come by then is treated as having come.
   * @param runIds the round's runs so far.
   */
  constructor(cluster: Watched, latestMs: number, runIds: () => readonly number[]) {
    this.#cluster = cluster;
    this.#latestMs = latestMs;
    this.#runIds = runIds;
    cluster.onFrame = (direction, type, when) => this.#onFrame(`${type} ${direction} ${when}`);
    this.#watcher = watch(cluster.linesDir, (_, name) => this.#onLine(name ?? ''));
  }

  /** Resolves when the action at the moment is finished. */
  async when(moment: Moment, act: () => Promise<void>): Promise<void> {
    if (moment.at !== 'frame' || moment.behind === undefined) return this.#when(moment, 0, act);
    let before = 0;
    await this.when(moment.behind, async () => {
      before = this.#seen.get(frameName(moment)) ?? 0;
    });
    return this.#when(moment, before, act);
  }

  #when(moment: Moment, before: number, act: () => Promise<void>): Promise<void> {
    return new Promise((resolve, reject) => {
      const waiting: Waiting = {
        moment,
        act: () => {
          act().then(resolve, reject);
        },
        timer: undefined,
        before,
      };
      this.#waiting.add(waiting);
      if (this.#begun) this.#setTimer(waiting);
      // The frames it counts may have passed in the meantime.
      if (moment.at === 'frame' && moment.behind !== undefined) this.#takeIfPassed(waiting, moment);
    });
  }

  /** Starts the clock for moments. */
  begin(): void {
    this.#begun = true;
    for (const waiting of this.#waiting) this.#setTimer(waiting);
    void this.#look();
  }

  end(): void {
    this.#isOver = true;
    this.#watcher.close();
    this.#cluster.onFrame = () => undefined;
  }

  #setTimer(waiting: Waiting): void {
    const ms = waiting.moment.at === 'time' ? waiting.moment.ms : this.#latestMs;
    waiting.timer = setTimeout(() => this.#take(waiting), ms);
  }

  #onFrame(name: string): void {
    this.#seen.set(name, (this.#seen.get(name) ?? 0) + 1);
    for (const waiting of this.#waiting) {
      const { moment } = waiting;
      if (moment.at === 'frame' && name === frameName(moment)) this.#takeIfPassed(waiting, moment);
    }
  }

  #takeIfPassed(waiting: Waiting, moment: FrameMoment): void {
    const passed = (this.#seen.get(frameName(moment)) ?? 0) - waiting.before;
    if (passed >= moment.nth) this.#take(waiting);
  }

  #onLine(name: string): void {
    this.#lines += 1;
    this.#commands.add(name);
    for (const waiting of this.#waiting) {
      const { moment } = waiting;
      const isLine = moment.at === 'line' && this.#lines >= moment.nth;
      const hasBegun = moment.at === 'commands' && this.#commands.size >= moment.count;
      if (isLine || hasBegun) this.#take(waiting);
    }
  }

  /** Runs until the end. Asks again if the database doesn't answer. */
  async #look(): Promise<void> {
    while (!this.#isOver) {
      await pause(lookMs);
      const asked = new Map<string, Promise<number>>();
      for (const waiting of [...this.#waiting]) {
        const { moment } = waiting;
        if (moment.at !== 'status') continue;
        const key = `${moment.of} ${moment.is}`;
        const counted = asked.get(key) ?? countIn(this.#cluster.sql, moment, this.#runIds());
        asked.set(key, counted);
        if ((await counted.catch(() => 0)) >= moment.count) this.#take(waiting);
      }
    }
  }

  #take(waiting: Waiting): void {
    if (!this.#waiting.delete(waiting)) return;
    clearTimeout(waiting.timer);
    const { moment } = waiting;
    const plusMs = moment.at === 'time' ? undefined : moment.plusMs;
    if (plusMs === undefined) waiting.act();
    else setTimeout(() => waiting.act(), plusMs);
  }
}

function frameName({ type, direction, when }: FrameMoment): string {
  return `${type} ${direction} ${when}`;
}

async function countIn(
  sql: Sql,
  { of, is }: Extract<Moment, { at: 'status' }>,
  runIds: readonly number[],
): Promise<number> {
  const ids = runIds as number[];
  const [row] =
    of === 'run'
      ? await sql`select count(*)::int as n from job_runs where id = any(${ids}::bigint[]) and status = ${is}`
      : await sql`
          select count(*)::int as n from ${sql(tables[of])}
          where job_run_id = any(${ids}::bigint[]) and status = ${is}`;
  return row?.n ?? 0;
}

const tables = {
  target_run: 'job_run_targets',
  step: 'job_run_steps',
  attempt: 'job_run_step_attempts',
} as const;
