// Shares event loop and memory among the readers of live streams: hundreds that all have output to take neither hold up
// requests and agents, nor hold hundreds of times what one may.

/** Pulls that are served before everything else has its turn. */
const maxPullsPerTurn = 8;
const maxPullRawBytes = 1024 * 1024;
/** Of all readers together: what one has pulled stays in memory until its connection takes it. */
const maxPulledRawBytes = 64 * 1024 * 1024;
/** The same as events: however many readers there are, each pulls a chunk at least. */
export const maxUntakenBytes = 32 * 1024 * 1024;

export class StreamTurns {
  #readers = 0;
  #left = maxPullsPerTurn;
  #isRefilling = false;
  readonly #waiting: (() => void)[] = [];
  /** By reader what its connection has not taken; who has waited longest comes first. */
  readonly #untaken = new Map<object, { bytes: number; cutOff: () => void }>();
  #untakenBytes = 0;

  /**
   * The reader's connection was handed so much, and holds it until the reader pulls again. Where all together hold too
   * much those that have taken nothing for longest are cut off: they come again and go on from where they were.
   */
  handed(reader: object, bytes: number, cutOff: () => void): void {
    this.taken(reader);
    this.#untaken.set(reader, { bytes, cutOff });
    this.#untakenBytes += bytes;
    for (const [slowest, held] of this.#untaken) {
      if (this.#untakenBytes <= maxUntakenBytes) return;
      this.taken(slowest);
      held.cutOff();
    }
  }

  /** The reader pulls again, or has gone. */
  taken(reader: object): void {
    this.#untakenBytes -= this.#untaken.get(reader)?.bytes ?? 0;
    this.#untaken.delete(reader);
  }

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
