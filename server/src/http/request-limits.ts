// How much of the API one caller, or one address that nobody has signed in from, may use up.

import { limits } from '@opsconductor/protocol';
import { type RateLimit, RateLimiter, rateLimitKeyOf, refuseAfter } from '../auth/rate-limiter.ts';
import { AppError } from '../errors.ts';
import { BodyRoom, type BodyShare } from './bodies/body-room.ts';
import { RefusalPauses } from './refusal-pauses.ts';
import type { Principal } from './route.ts';

/** A program that asks as fast as it can stays below this on one connection; a loop gone wild on many does not. */
const ofCaller: RateLimit = { burst: 2_000, refillMs: 2 };
/** What doesn't say who it is, or not rightly. Sign-in and enrollment have limits of their own below this one. */
const ofStranger: RateLimit = { burst: 600, refillMs: 100 };

/** Files that are read at a time: each is held in memory until its request is answered. */
const maxFilesAtOnce = 2;
/** The same of uploads, which are smaller. */
const maxUploadsAtOnce = 8;
/**
 * Of all other bodies. Who sends the largest that a route takes can send others beside it, and small ones, such as that
 * of a cancel, are read however full it is.
 */
const roomOfCallers = {
  maxBytes: 96 * 1024 * 1024,
  maxBytesEach: limits.maxInventoryBytes + 4 * 1024 * 1024,
  freeBytes: 16 * 1024,
};
/** Strangers have room of their own: they can't fill that of who has signed in. No route takes more than 16 KiB of them. */
const roomOfStrangers = { maxBytes: 16 * 1024 * 1024, maxBytesEach: 256 * 1024, freeBytes: 0 };

export class RequestLimits {
  #files = 0;
  #uploads = 0;
  readonly #roomOfCallers = new BodyRoom(roomOfCallers);
  readonly #roomOfStrangers = new BodyRoom(roomOfStrangers);
  readonly #pauses = new RefusalPauses();
  readonly #callers: RateLimiter;
  readonly #strangers: RateLimiter;

  constructor(now: () => Date, rates: { ofCaller?: RateLimit; ofStranger?: RateLimit } = {}) {
    this.#callers = new RateLimiter(rates.ofCaller ?? ofCaller, now);
    this.#strangers = new RateLimiter(rates.ofStranger ?? ofStranger, now);
  }

  /** @throws AppError `rate_limited` with Retry-After, after a pause. */
  async countCaller(principal: Principal): Promise<void> {
    // By user: more sessions or tokens are not more of it.
    const waitMs = this.#callers.take(String(principal.userId));
    // Not by user: their browser would wait for what their script asks.
    if (waitMs > 0) await this.#pauses.take(`${principal.via} ${principal.viaId}`);
    refuseAfter(waitMs);
  }

  /** @throws AppError `rate_limited` with Retry-After. */
  countStranger(address: string): void {
    refuseAfter(this.#strangers.take(rateLimitKeyOf(address)));
  }

  /** One that was counted has turned out to be none. */
  uncountStranger(address: string): void {
    this.#strangers.giveBack(rateLimitKeyOf(address));
  }

  /** What the body of a request by this caller may take of memory, to be released when the request is answered. */
  shareOfBodies(principal: Principal | undefined, address: string): BodyShare {
    return principal === undefined
      ? this.#roomOfStrangers.share(rateLimitKeyOf(address))
      : this.#roomOfCallers.share(String(principal.userId));
  }

  /**
   * Takes a file's place; what it returns gives it back.
   *
   * @throws AppError `rate_limited` with Retry-After.
   */
  holdFile(): () => void {
    if (this.#files >= maxFilesAtOnce) {
      throw new AppError('rate_limited', 'Other files are being read; try again in some seconds.', {
        retryAfterS: 5,
      });
    }
    this.#files += 1;
    return () => {
      this.#files -= 1;
    };
  }

  /**
   * The same for bytes of an upload.
   *
   * @throws AppError `rate_limited` with Retry-After.
   */
  holdUpload(): () => void {
    if (this.#uploads >= maxUploadsAtOnce) {
      throw new AppError('rate_limited', 'Other uploads are under way; try again in a second.', {
        retryAfterS: 1,
      });
    }
    this.#uploads += 1;
    return () => {
      this.#uploads -= 1;
    };
  }
}
