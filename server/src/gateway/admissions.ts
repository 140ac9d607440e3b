// How many agents are on their way in at a time, from their proof until they can be given steps. Each costs milliseconds
// of the event loop, and a whole site may come at once: while the loop has time left there are more and more of them,
// and few as soon as it has not, so that what people and other agents ask for meanwhile is done.
import { performance } from 'node:perf_hooks';

const least = 4;
const first = 16;
const most = 128;
const growth = 1.5;
/** Share of its time in which the event loop was at work, above which it has none left. */
const busyShare = 0.75;
/** It is looked at over no less than this. */
const lookMs = 20;

export class Admissions {
  readonly #lookAtLoop: () => number | undefined;
  readonly #waiting: (() => void)[] = [];
  #places = first;
  #taken = 0;

  /** @param lookAtLoop share of the time since the last look in which the loop was at work; undefined when that was just now. */
  constructor(lookAtLoop: () => number | undefined = loopShare()) {
    this.#lookAtLoop = lookAtLoop;
  }

  /** Resolves when it is the caller's turn, in the order in which they came; who says `leave` afterwards, whatever happened. */
  enter(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      this.#admit();
    });
  }

  leave(): void {
    this.#taken -= 1;
    if (this.#waiting.length > 0) this.#adapt();
    this.#admit();
  }

  #adapt(): void {
    const share = this.#lookAtLoop();
    if (share === undefined) return;
    this.#places =
      share > busyShare
        ? Math.max(least, Math.floor(this.#places / 2))
        : Math.min(most, Math.ceil(this.#places * growth));
  }

  #admit(): void {
    while (this.#taken < this.#places) {
      const next = this.#waiting.shift();
      if (next === undefined) return;
      this.#taken += 1;
      next();
    }
  }
}

function loopShare(): () => number | undefined {
  let last = performance.eventLoopUtilization();
  return () => {
    const now = performance.eventLoopUtilization();
    const { active, idle, utilization } = performance.eventLoopUtilization(now, last);
    if (active + idle < lookMs) return undefined;
    last = now;
    return utilization;
  };
}
