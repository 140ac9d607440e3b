// How often one may try to sign in. Three bounds: by address; by name and address, which locks (docs/people.md); and by
// name from addresses that it never came in from, so that many addresses guess no faster than a few.
import { AppError } from '../errors.ts';
import { RateLimiter, rateLimitKeyOf } from './rate-limiter.ts';

const perAddress = { burst: 20, refillMs: 3_000 };
const perName = { burst: 100, refillMs: 1_000 };
/** So many tries of an address at a name count as its first. */
const firstTries = 3;
const failureRows = { burst: 200, refillMs: 500 };

export class SignInLimits {
  readonly #byAddress: RateLimiter;
  /** By name: addresses that have hardly tried, and those that have. */
  readonly #firstTries: RateLimiter;
  readonly #furtherTries: RateLimiter;
  readonly #failureRows: RateLimiter;
  #untoldFailures = 0;

  constructor(now: () => Date) {
    this.#byAddress = new RateLimiter(perAddress, now);
    this.#firstTries = new RateLimiter(perName, now);
    this.#furtherTries = new RateLimiter(perName, now);
    this.#failureRows = new RateLimiter(failureRows, now);
  }

  /** @throws AppError `rate_limited` */
  countAttempt(address: string): void {
    refuseFor(this.#byAddress.take(rateLimitKeyOf(address)));
  }

  /**
   * For names that don't exist alike. Not asked for an address that the name came in from before: no flood of others
   * keeps its owner out there. Few addresses that try often don't use up what is left for those that try first, as the
   * owner does from a new place.
   *
   * @param failures How often the address was wrong about the name already.
   * @throws AppError `rate_limited`
   */
  countStrangersAttempt(name: string, failures: number): void {
    const limiter = failures < firstTries ? this.#firstTries : this.#furtherTries;
    refuseFor(limiter.take(name.toLowerCase()));
  }

  /**
   * Whether this failure gets an audit row of its own, and how many before it got none: a flood must not fill the log.
   */
  tellFailure(): { untold: number } | undefined {
    if (this.#failureRows.take('') > 0) {
      this.#untoldFailures++;
      return undefined;
    }
    const untold = this.#untoldFailures;
    this.#untoldFailures = 0;
    return { untold };
  }
}

/** @throws AppError `rate_limited` unless the wait is 0. */
export function refuseFor(waitMs: number): void {
  if (waitMs <= 0) return;
  const retryAfterS = Math.ceil(waitMs / 1000);
  throw new AppError('rate_limited', `Too many attempts. Try again in ${retryAfterS} s.`, { retryAfterS });
}
