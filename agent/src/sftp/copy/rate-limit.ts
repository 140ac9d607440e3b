import { pause } from '../../timing/pause.ts';

/** Limits a transfer to a number of bytes in any second: time in which nothing was moved is not saved up. */
export class RateLimit {
  readonly #bytesPerMs: number;
  readonly #nowMs: () => number;
  /** When everything admitted so far has used up its time. */
  #paidMs = 0;

  constructor(bytesPerSecond: number, nowMs: () => number = () => performance.now()) {
    this.#bytesPerMs = bytesPerSecond / 1_000;
    this.#nowMs = nowMs;
  }

  /** Admits the bytes and returns how long they have to wait, in ms. */
  waitMs(bytes: number): number {
    const now = this.#nowMs();
    const begin = Math.max(this.#paidMs, now);
    this.#paidMs = begin + bytes / this.#bytesPerMs;
    return begin - now;
  }

  async take(bytes: number, signal: AbortSignal): Promise<void> {
    const ms = this.waitMs(bytes);
    if (ms > 0) await pause(ms, signal);
  }
}
