// Waits for the moments that a plan names: a frame that passes a relay, a command that begins on a target, a time.
import { type FSWatcher, watch } from 'node:fs';
import type { Cluster } from './cluster.ts';
import type { Moment } from './plan-round.ts';

interface Waiting {
  moment: Moment;
  /** Runs in the very turn in which the moment comes. */
  act(): void;
  timer: NodeJS.Timeout | undefined;
}

export class Moments {
  readonly #cluster: Cluster;
  readonly #latestMs: number;
  readonly #waiting = new Set<Waiting>();
  readonly #seen = new Map<string, number>();
  readonly #watcher: FSWatcher;
  #lines = 0;
  #begun = false;

  /** @param latestMs a moment that has not come by then is taken at that time. */
  constructor(cluster: Cluster, latestMs: number) {
    this.#cluster = cluster;
    this.#latestMs = latestMs;
    cluster.onFrame = (direction, type, when) => this.#onFrame(`${type} ${direction} ${when}`);
    this.#watcher = watch(cluster.linesDir, () => this.#onLine());
  }

  /** Resolves when what was done at the moment is over. */
  when(moment: Moment, act: () => Promise<void>): Promise<void> {
    return new Promise((resolve, reject) => {
      const waiting: Waiting = {
        moment,
        act: () => {
          act().then(resolve, reject);
        },
        timer: undefined,
      };
      this.#waiting.add(waiting);
      if (this.#begun) this.#setTimer(waiting);
    });
  }

  /** Time counts from here. */
  begin(): void {
    this.#begun = true;
    for (const waiting of this.#waiting) this.#setTimer(waiting);
  }

  end(): void {
    this.#watcher.close();
    this.#cluster.onFrame = () => undefined;
  }

  #setTimer(waiting: Waiting): void {
    const ms = waiting.moment.at === 'time' ? waiting.moment.ms : this.#latestMs;
    waiting.timer = setTimeout(() => this.#take(waiting), ms);
  }

  #onFrame(name: string): void {
    const nth = (this.#seen.get(name) ?? 0) + 1;
    this.#seen.set(name, nth);
    for (const waiting of this.#waiting) {
      const { moment } = waiting;
      if (moment.at !== 'frame' || name !== `${moment.type} ${moment.direction} ${moment.when}`) continue;
      if (nth >= moment.nth) this.#take(waiting);
    }
  }

  #onLine(): void {
    this.#lines += 1;
    for (const waiting of this.#waiting) {
      if (waiting.moment.at === 'line' && this.#lines >= waiting.moment.nth) this.#take(waiting);
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
