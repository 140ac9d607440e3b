// Limits how much of the API one caller, or one address that nobody has signed in from, may use.

import { limits } from '@opsconductor/protocol';
import { type RateLimit, RateLimiter, rateLimitKeyOf, refuseAfter } from '../auth/limits/rate-limiter.ts';
import { AppError } from '../errors.ts';
import { BodyRoom, type BodyShare } from './bodies/body-room.ts';
import { RefusalPauses } from './refusal-pauses.ts';
import type { Principal } from './route.ts';

/**
 * A program that sends requests as fast as it can on one connection stays below this; a runaway loop on many does not.
 */
const ofCaller: RateLimit = { burst: 2_000, refillMs: 2 };
/** Requests without a valid session or token. Sign-in and enrollment have stricter limits of their own. */
const ofStranger: RateLimit = { burst: 600, refillMs: 100 };

/** Files that are read at a time. Each is held in memory until its request is answered. */
const maxFilesAtOnce = 2;
/** The same for uploads, which are smaller. */
const maxUploadsAtOnce = 8;
/**
 * For all other bodies. A caller who sends the largest body that a route takes can send others meanwhile, and small
 * ones, such as that of a cancel, are read however full the room is.
 */
const roomOfCallers = {
  maxBytes: 96 * 1024 * 1024,
  maxBytesEach: limits.maxInventoryBytes + 4 * 1024 * 1024,
  freeBytes: 16 * 1024,
};
/**
 * Unknown callers have a room of their own, so that they can't fill that of signed-in ones. No route takes more than 16
 * KiB from them.
 */
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
    // By user, so that several sessions or tokens don't add up to more.
    const waitMs = this.#callers.take(String(principal.userId));
    // Not by user, or people's browsers would wait for what their scripts do.
    if (waitMs > 0) await this.#pauses.take(`${principal.via} ${principal.viaId}`);
    refuseAfter(waitMs);
  }

  /** @throws AppError `rate_limited` with Retry-After. */
  countStranger(address: string): void {
    refuseAfter(this.#strangers.take(rateLimitKeyOf(address)));
  }

  /** Takes back the count of a request whose caller turned out to be known. */
  uncountStranger(address: string): void {
    this.#strangers.giveBack(rateLimitKeyOf(address));
  }

  /** Returns the memory share for the body of this caller's request; release it when the request is answered. */
  shareOfBodies(principal: Principal | undefined, address: string): BodyShare {
    return principal === undefined
      ? this.#roomOfStrangers.share(rateLimitKeyOf(address))
      : this.#roomOfCallers.share(String(principal.userId));
  }

  /**
   * Takes a place for a file. Returns a function that gives it back.
   * @throws AppError `rate_limited` with Retry-After.
   */
  holdFile(): () => void {
    if (this.#files >= maxFilesAtOnce) {
      throw new AppError('rate_limited', 'Other files are being read; try again in a few seconds.', {
        retryAfterS: 5,
      });
    }
    this.#files += 1;
    return () => {
      this.#files -= 1;
    };
  }

  /**
   * The same for the bytes of an upload.
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
