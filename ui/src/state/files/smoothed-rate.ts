// How fast bytes move, smoothed so that the figure can be read and the time left doesn't jump.

/** Shorter stretches say more about how the bytes are cut than about the way that they take. */
const shortestMs = 500;
/** Bytes are told of piece by piece: that none came for a shorter time says nothing. */
const stillMs = 5_000;
/** After this long, a stretch counts for a third of the figure at most, however many came before it. */
const memoryMs = 6_000;

export class SmoothedRate {
  #since: { bytes: number; atMs: number } | undefined;
  #perSecond: number | undefined;

  /** Undefined until enough has been seen. */
  get bytesPerSecond(): number | undefined {
    return this.#perSecond;
  }

  /** Tells how many bytes there are now; may be told again while nothing moves. */
  note(bytes: number, atMs: number): void {
    const since = this.#since;
    if (since === undefined) {
      this.#since = { bytes, atMs };
      return;
    }
    const tookMs = atMs - since.atMs;
    if (tookMs < (bytes === since.bytes ? stillMs : shortestMs)) return;
    const now = ((bytes - since.bytes) / tookMs) * 1_000;
    const weight = 1 - Math.exp(-tookMs / memoryMs);
    this.#perSecond =
      this.#perSecond === undefined ? now : this.#perSecond + weight * (now - this.#perSecond);
    this.#since = { bytes, atMs };
  }
}
