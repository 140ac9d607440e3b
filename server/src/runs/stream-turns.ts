// Shares event loop and memory among the readers of live streams: hundreds that all have output to take neither hold up
// requests and agents, nor hold hundreds of times what one may.

/** Pulls that are served before everything else has its turn. */
const maxPullsPerTurn = 8;
const maxPullRawBytes = 1024 * 1024;
/** Of all readers together: what one has pulled stays in memory until its connection takes it. */
const maxPulledRawBytes = 64 * 1024 * 1024;

export class StreamTurns {
  #readers = 0;
  #left = maxPullsPerTurn;
  #isRefilling = false;
  readonly #waiting: (() => void)[] = [];

  /** Counts a reader; returns what ends that. */
  join(): () => void {
    this.#readers += 1;
    return () => {
      this.#readers -= 1;
    };
  }

  /** How much a reader may pull at once; of output at least a chunk, however many there are. */
  get pullRawBytes(): number {
    return Math.min(maxPullRawBytes, Math.floor(maxPulledRawBytes / Math.max(1, this.#readers)));
  }

  /** Resolves when the reader may pull: at once, unless many do. */
  async take(): Promise<void> {
    this.#refillSoon();
    if (this.#left > 0) this.#left -= 1;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  #refillSoon(): void {
    if (this.#isRefilling) return;
    this.#isRefilling = true;
    setImmediate(() => {
      this.#isRefilling = false;
      const served = this.#waiting.splice(0, maxPullsPerTurn);
      this.#left = maxPullsPerTurn - served.length;
      for (const go of served) go();
      if (this.#waiting.length > 0) this.#refillSoon();
    });
  }
}
