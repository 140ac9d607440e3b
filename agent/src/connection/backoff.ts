// How long to wait before the next try to connect: exponential with full jitter, so that agents that were cut off
// together do not come back together. After some closes the wait is another, and where nobody answers at all it stays
// short: such a try costs a server nothing, and one that was restarted is to have its agents back soon. Where these are
// many it has told them over which time they are to come back.
import { closeCodes, limits } from '@opsconductor/protocol';

const firstMs = 200;
const longestMs = 30_000;
const longestUnansweredMs = 5_000;
/** Where the server told a short time, and for how many tries: ten seconds or so, in which a server that was restarted is there again. */
const longestAtFirstMs = 250;
const triesAtFirst = 40;
const restartSpreadMs = 1_000;
const slowFromMs = 10_000;
const refusedFromMs = 120_000;
const refusedToMs = 300_000;

export class Backoff {
  readonly #random: () => number;
  #failures = 0;
  /** Over which time the agents of the server are to come back, in ms. */
  #spreadMs = 0;
  #hasSpread = false;
  #hasAnotherKey = false;

  constructor(random: () => number = Math.random) {
    this.#random = random;
  }

  /** A session was resumed: the next loss starts from the shortest wait. */
  succeeded(): void {
    this.#failures = 0;
    this.#hasSpread = false;
  }

  /** The server says over which time its agents are to come back, should it be gone. */
  spreadOver(ms: number): void {
    this.#spreadMs = Math.min(ms, limits.maxReconnectWithinMs);
  }

  /** The server has refused one of the two keys that this agent may be known by: the other one is not left to wait. */
  tryAnotherKey(): void {
    this.#hasAnotherKey = true;
  }

  /**
   * Ms to wait after a connection ended with this close code, which is undefined where there was no close frame.
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
        // Short waits are not made much shorter: agents by the hundred may be on the machine that is to come up.
        return this.#between(answered ? firstMs / 2 : ceilingMs / 2, Math.max(firstMs, ceilingMs));
      }
    }
  }

  /** One that is to be back soon, as few are before it, tries often for a while. */
  #longestAtFirst(): number {
    const isSoon = this.#spreadMs > 0 && this.#failures <= triesAtFirst;
    return isSoon ? Math.max(longestAtFirstMs, this.#spreadMs) : Number.POSITIVE_INFINITY;
  }

  /** Each at a moment of its own, and at about that moment in each time after it: whenever the server is there again. */
  #spread(): number {
    const isFirst = !this.#hasSpread;
    this.#hasSpread = true;
    return this.#between(isFirst ? 0 : this.#spreadMs * 0.9, this.#spreadMs);
  }

  #between(fromMs: number, toMs: number): number {
    return fromMs + this.#random() * (toMs - fromMs);
  }
}
