// Limits how many callers are served at once, when each costs milliseconds of the event loop and a thousand may
// arrive together. The limit grows while the event loop has time to spare and halves as soon as it has none, so that
// other requests of people and agents are still answered.
import { performance } from 'node:perf_hooks';

const least = 4;
const first = 16;
const most = 128;
const growth = 1.25;
/** Event loop utilization above which the loop counts as busy. */
const busyShare = 0.75;
const lookMs = 50;

export interface AdmissionsOptions {
  /** Returns the event loop's utilization (0 to 1) since the previous call. */
  lookAtLoop?: () => number;
  /** Schedules `look` once, a moment later. */
  lookLater?: (look: () => void) => void;
}

export class Admissions {
  readonly #lookAtLoop: () => number;
  readonly #lookLater: (look: () => void) => void;
  /** Callers that wait, by group. The order of the groups is the order of their turns. */
  readonly #waiting = new Map<unknown, (() => void)[]>();
  #places = first;
  #taken = 0;
  #isLooking = false;

  constructor({ lookAtLoop = loopShare(), lookLater = soon }: AdmissionsOptions = {}) {
    this.#lookAtLoop = lookAtLoop;
    this.#lookLater = lookLater;
  }

  /**
   * Resolves when it is the caller's turn; the caller must then call `leave`, whatever happened. Groups take turns, so
   * that a large group doesn't keep all others waiting. Within a group, it is first come, first served.
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

  /** Adjusts the limit while anyone waits, even if nobody leaves: those inside may be slow while the loop is idle. */
  #keepLooking(): void {
    if (this.#isLooking) return;
    this.#isLooking = true;
    // Starts a new measurement: the utilization up to now says nothing about the current load.
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
