// How many of those that come are looked after at a time, where each costs milliseconds of the event loop and a thousand
// may come at once. While the loop has time left there are more and more of them, and few as soon as it has not, so that
// what people and agents ask for meanwhile is done.
import { performance } from 'node:perf_hooks';

const least = 4;
const first = 16;
const most = 128;
const growth = 1.25;
/** Share of its time in which the event loop was at work, above which it has none left. */
const busyShare = 0.75;
const lookMs = 50;

export interface AdmissionsOptions {
  /** Share of the time since the last look in which the event loop was at work. */
  lookAtLoop?: () => number;
  /** Has the loop looked at once, a moment later. */
  lookLater?: (look: () => void) => void;
}

export class Admissions {
  readonly #lookAtLoop: () => number;
  readonly #lookLater: (look: () => void) => void;
  /** By group, in the order in which these have their turn. */
  readonly #waiting = new Map<unknown, (() => void)[]>();
  #places = first;
  #taken = 0;
  #isLooking = false;

  constructor({ lookAtLoop = loopShare(), lookLater = soon }: AdmissionsOptions = {}) {
    this.#lookAtLoop = lookAtLoop;
    this.#lookLater = lookLater;
  }

  /**
   * Resolves when it is the caller's turn, who says `leave` afterwards, whatever happened. Groups have their turns one
   * after the other, so that a large one does not keep all others waiting; within one the first to come is the first.
   */
  enter(group: unknown): Promise<void> {
    return new Promise((resolve) => {
      const queue = this.#waiting.get(group);
      if (queue === undefined) this.#waiting.set(group, [resolve]);
      else queue.push(resolve);
      this.#admit();
    });
  }

  leave(): void {
    this.#taken -= 1;
    this.#admit();
  }

  #admit(): void {
    while (this.#taken < this.#places) {
      const next = this.#next();
      if (next === undefined) return;
      this.#taken += 1;
      next();
    }
    if (this.#waiting.size > 0) this.#keepLooking();
  }

  /** While somebody waits: also where nobody leaves, who may be slow to answer while the loop has nothing to do. */
  #keepLooking(): void {
    if (this.#isLooking) return;
    this.#isLooking = true;
    // What was before is no measure.
    this.#lookAtLoop();
    this.#lookLater(() => {
      this.#isLooking = false;
      this.#places =
        this.#lookAtLoop() > busyShare
          ? Math.max(least, Math.floor(this.#places / 2))
          : Math.min(most, Math.ceil(this.#places * growth));
      this.#admit();
    });
  }

  #next(): (() => void) | undefined {
    for (const [group, queue] of this.#waiting) {
      const next = queue.shift();
      this.#waiting.delete(group);
      if (queue.length > 0) this.#waiting.set(group, queue);
      return next;
    }
    return undefined;
  }
}

function soon(look: () => void): void {
  setTimeout(look, lookMs).unref();
}

function loopShare(): () => number {
  let last = performance.eventLoopUtilization();
  return () => {
    const now = performance.eventLoopUtilization();
    const { utilization } = performance.eventLoopUtilization(now, last);
    last = now;
    return utilization;
  };
}
