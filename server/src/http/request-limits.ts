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

/**
 * Files that are read at a time, in all and of one caller, who may send them as slowly as any body. Each is held in
 * memory until its request is answered.
 */
const filesAtOnce = { most: 2, mostOfEach: 1 };
/** The same for uploads, which are smaller. */
const uploadsAtOnce = { most: 8, mostOfEach: 4 };
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
  readonly #files = new Places(filesAtOnce);
  readonly #uploads = new Places(uploadsAtOnce);
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
  holdFile(principal: Principal | undefined): () => void {
    const release = this.#files.take(placeOf(principal));
    if (release !== undefined) return release;
    throw new AppError('rate_limited', 'Other files are being read; try again in a few seconds.', {
      retryAfterS: 5,
    });
  }

  /**
   * The same for the bytes of an upload.
   * @throws AppError `rate_limited` with Retry-After.
   */
  holdUpload(principal: Principal | undefined): () => void {
    const release = this.#uploads.take(placeOf(principal));
    if (release !== undefined) return release;
    throw new AppError('rate_limited', 'Other uploads are under way; try again in a second.', {
      retryAfterS: 1,
    });
  }
}

function placeOf(principal: Principal | undefined): string {
  return principal === undefined ? '' : String(principal.userId);
}

/** Places that are taken while something is held, some of them by each. */
class Places {
  readonly #limits: { most: number; mostOfEach: number };
  readonly #taken = new Map<string, number>();
  #all = 0;

  constructor(limits: { most: number; mostOfEach: number }) {
    this.#limits = limits;
  }

  /** Returns the function that gives the place back; `undefined` if there is none left for `whose`. */
  take(whose: string): (() => void) | undefined {
    const own = this.#taken.get(whose) ?? 0;
    if (this.#all >= this.#limits.most || own >= this.#limits.mostOfEach) return undefined;
    this.#all += 1;
    this.#taken.set(whose, own + 1);
    return () => {
      this.#all -= 1;
      const left = (this.#taken.get(whose) ?? 0) - 1;
      if (left > 0) this.#taken.set(whose, left);
      else this.#taken.delete(whose);
    };
  }
}
