// The deadline until which this agent may start what it was leased. It counts from before the agent asked, by whichever
// clock ran further: the monotonic one stands still while a machine sleeps, and the wall clock may be set back.
import { performance } from 'node:perf_hooks';

export interface Clock {
  /** Wall clock time, in ms since 1970. */
  wallMs(): number;
  /** Monotonic time, in ms; never set back. */
  monotonicMs(): number;
}

export const systemClock: Clock = { wallMs: () => Date.now(), monotonicMs: () => performance.now() };

interface Instant {
  wallMs: number;
  monotonicMs: number;
}

export class LeaseDeadline {
  readonly #clock: Clock;
  readonly #sent = new Map<number, Instant>();
  #leaseTtlMs = 0;
  #renewedAt: Instant | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  now(): Instant {
    return { wallMs: this.#clock.wallMs(), monotonicMs: this.#clock.monotonicMs() };
  }

  /** Begins a session. `askedAt` was taken before its `authenticate` was sent. */
  begin(askedAt: Instant, leaseTtlMs: number): void {
    this.#sent.clear();
    this.#leaseTtlMs = leaseTtlMs;
    this.#renewedAt = askedAt;
  }

  heartbeatSent(sequence: number): void {
    this.#sent.set(sequence, this.now());
  }

  /** Renews the leases from when the heartbeat was sent, if it was sent in this session. */
  heartbeatAcknowledged(sequence: number): void {
    const sentAt = this.#sent.get(sequence);
    if (sentAt === undefined) return;
    this.#renewedAt = sentAt;
    for (const earlier of this.#sent.keys()) if (earlier <= sequence) this.#sent.delete(earlier);
  }

  /** Time since the last renewal was asked for, in ms. */
  elapsedMs(): number {
    if (this.#renewedAt === undefined) return Number.POSITIVE_INFINITY;
    const { wallMs, monotonicMs } = this.now();
    return Math.max(wallMs - this.#renewedAt.wallMs, monotonicMs - this.#renewedAt.monotonicMs);
  }

  passed(): boolean {
    return this.elapsedMs() >= this.#leaseTtlMs;
  }
}
