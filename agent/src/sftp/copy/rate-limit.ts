import { pause } from './pause.ts';

/** Holds a transfer to so many bytes a second, over any second. */
export class RateLimit {
  readonly #bytesPerMs: number;
  readonly #nowMs: () => number;
  /** When what was let through so far has had its time. */
  #paidMs = 0;

  constructor(bytesPerSecond: number, nowMs: () => number = () => performance.now()) {
    this.#bytesPerMs = bytesPerSecond / 1_000;
    this.#nowMs = nowMs;
  }

  /** How long the bytes have to wait, in ms; they count as let through. */
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
