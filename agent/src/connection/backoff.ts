// How long to wait before the next connection attempt: exponential backoff with full jitter, so that agents that were
// cut off together do not come back together. Some close codes have waits of their own. While nobody answers, waits
// stay short: such a try costs a server nothing, and a restarted server should have its agents back soon. A server with
// many agents tells them the time over which to spread their return.
import { closeCodes, limits } from '@opsconductor/protocol';

const firstMs = 200;
const longestMs = 30_000;
const longestUnansweredMs = 5_000;
/**
 * The longest wait if the server gave a short time, and for how many tries: about ten seconds in all, within which a
 * restarted server is back.
 */
const longestAtFirstMs = 250;
const triesAtFirst = 40;
const restartSpreadMs = 1_000;
const slowFromMs = 10_000;
const refusedFromMs = 120_000;
const refusedToMs = 300_000;

export class Backoff {
  readonly #random: () => number;
  #failures = 0;
  /** The time over which the server's agents should spread their return, in ms. */
  #spreadMs = 0;
  #hasSpread = false;
  #hasAnotherKey = false;

  constructor(random: () => number = Math.random) {
    this.#random = random;
  }

  /** A session was resumed: the next loss starts with the shortest wait again. */
  succeeded(): void {
    this.#failures = 0;
    this.#hasSpread = false;
  }

  /** The server says over which time its agents should spread their return if it goes away. */
  spreadOver(ms: number): void {
    this.#spreadMs = Math.min(ms, limits.maxReconnectWithinMs);
  }

  /**
   * The server has refused one of the two keys that this agent may be known by; the other one is tried without a long
   * wait.
   */
  tryAnotherKey(): void {
    this.#hasAnotherKey = true;
  }

  /**
   * Returns how many ms to wait after a connection ended with this close code; undefined means that there was no close
   * frame.
   *
   * @param answered whether there was a server that answered.
   */
  nextDelayMs(closeCode: number | undefined, answered = true): number {
    switch (closeCode) {
      case closeCodes.serverRestart:
        return this.#between(0, Math.max(restartSpreadMs, this.#spreadMs));
      case closeCodes.unauthenticated:
      case closeCodes.noCommonVersion:
        if (this.#hasAnotherKey) {
          this.#hasAnotherKey = false;
          return this.#between(0, restartSpreadMs);
        }
        return this.#between(refusedFromMs, refusedToMs);
      case closeCodes.invalidMessage:
      case closeCodes.replaced:
        return this.#between(slowFromMs, longestMs);
      default: {
        const most = answered ? longestMs : longestUnansweredMs;
        const ownMs = Math.min(most, firstMs * 2 ** Math.min(this.#failures, 20));
        this.#failures += 1;
        if (!answered && this.#spreadMs > ownMs) return this.#spread();
        const ceilingMs = answered ? ownMs : Math.min(ownMs, this.#longestAtFirst());
        // Short waits are not made much shorter: hundreds of agents may run on the machine that is starting.
        return this.#between(answered ? firstMs / 2 : ceilingMs / 2, Math.max(firstMs, ceilingMs));
      }
    }
  }

  /** If the server should be back soon, which means that it has few agents, try often for a while. */
  #longestAtFirst(): number {
    const isSoon = this.#spreadMs > 0 && this.#failures <= triesAtFirst;
    return isSoon ? Math.max(longestAtFirstMs, this.#spreadMs) : Number.POSITIVE_INFINITY;
  }

  /**
   * Each agent tries at its own moment, and at about the same moment in each further period, whenever the server is
   * back.
   */
  #spread(): number {
    const isFirst = !this.#hasSpread;
    this.#hasSpread = true;
    return this.#between(isFirst ? 0 : this.#spreadMs * 0.9, this.#spreadMs);
  }

  #between(fromMs: number, toMs: number): number {
    return fromMs + this.#random() * (toMs - fromMs);
  }
}
