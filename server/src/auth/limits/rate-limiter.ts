// Token buckets by key, in bounded memory: the least recently used key is forgotten first.
import { AppError } from '../../errors.ts';

export interface RateLimit {
  /** How many may pass at once. */
  burst: number;
  /** After the burst, one more may pass every `refillMs`. */
  refillMs: number;
  maxKeys?: number;
}

interface Bucket {
  /** When it will be full again if nothing more is taken. */
  fullMs: number;
  /** When it was last looked at, to notice a clock that was set back. */
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

  /** Takes one. Returns 0 if there was one, otherwise the ms until there is. */
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
 * Refuses a request that has to wait.
 * @throws AppError `rate_limited`, with when to try again, unless the wait is 0.
 */
export function refuseAfter(waitMs: number): void {
  if (waitMs === 0) return;
  const retryAfterS = Math.ceil(waitMs / 1000);
  throw new AppError('rate_limited', `Too many attempts. Try again in ${retryAfterS} s.`, { retryAfterS });
}

/** Returns the key to count by. An IPv6 client usually has a whole /64, so that is what counts. */
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
