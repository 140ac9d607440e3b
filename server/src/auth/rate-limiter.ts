// Token buckets by key, in bounded memory: what was used longest ago is forgotten first.
import { AppError } from '../errors.ts';

export interface RateLimit {
  /** So many at once. */
  burst: number;
  /** Then one in so many ms. */
  refillMs: number;
  maxKeys?: number;
}

interface Bucket {
  /** When it will be full again, were nothing more taken. */
  fullMs: number;
  /** When it was last looked at, to notice a clock set back. */
  atMs: number;
}

export class RateLimiter {
  readonly #limit: Required<RateLimit>;
  readonly #now: () => Date;
  readonly #buckets = new Map<string, Bucket>();

  constructor(limit: RateLimit, now: () => Date) {
    this.#limit = { maxKeys: 10_000, ...limit };
    this.#now = now;
  }

  /** Takes one; 0 when it was there, otherwise the ms until one is. */
  take(key: string): number {
    const { burst, refillMs, maxKeys } = this.#limit;
    const nowMs = this.#now().getTime();
    const bucket = this.#buckets.get(key) ?? { fullMs: nowMs, atMs: nowMs };
    const setBackMs = Math.max(0, bucket.atMs - nowMs);
    const fullMs = Math.max(bucket.fullMs - setBackMs, nowMs);
    const waitMs = Math.max(0, fullMs - nowMs - (burst - 1) * refillMs);
    this.#buckets.delete(key);
    const oldest = this.#buckets.keys().next();
    if (this.#buckets.size >= maxKeys && !oldest.done) this.#buckets.delete(oldest.value);
    this.#buckets.set(key, { fullMs: waitMs === 0 ? fullMs + refillMs : fullMs, atMs: nowMs });
    return waitMs;
  }

  /** Puts back one that was taken. */
  giveBack(key: string): void {
    const bucket = this.#buckets.get(key);
    if (bucket !== undefined) bucket.fullMs -= this.#limit.refillMs;
  }

  /** Fills a bucket again. */
  reset(key: string): void {
    this.#buckets.delete(key);
  }
}

/**
 * Refuses what has to wait; lets through what need not.
 *
 * @throws AppError `rate_limited`, with when to try again.
 */
export function refuseAfter(waitMs: number): void {
  if (waitMs === 0) return;
  const retryAfterS = Math.ceil(waitMs / 1000);
  throw new AppError('rate_limited', `Too many attempts. Try again in ${retryAfterS} s.`, { retryAfterS });
}

/** An IPv6 client has a whole /64 to itself, so that is what is counted. */
export function rateLimitKeyOf(address: string): string {
  if (!address.includes(':')) return address;
  const [head = '', tail] = address.split('%', 1)[0]?.split('::') ?? [];
  const groups = head === '' ? [] : head.split(':');
  const after = tail === undefined || tail === '' ? [] : tail.split(':');
  const filled = [...groups, ...Array(Math.max(0, 8 - groups.length - after.length)).fill('0'), ...after];
  return `${filled
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':')}::/64`;
}
