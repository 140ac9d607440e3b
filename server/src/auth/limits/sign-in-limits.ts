// How often signing in may be tried. There are three limits: by address; by name and address, which locks
// (docs/people.md); and by name for addresses from which it never signed in, so that many addresses can't guess faster
// than a few.
import { RateLimiter, rateLimitKeyOf, refuseAfter } from './rate-limiter.ts';

const perAddress = { burst: 20, refillMs: 3_000 };
const perName = { burst: 100, refillMs: 1_000 };
/** Up to this many tries of an address at a name count as first tries. */
const firstTries = 3;
/** For one user: hashing passwords is dear, and all who sign in wait for the same few places. */
const perPasswordChange = { burst: 5, refillMs: 30_000 };
const failureRows = { burst: 200, refillMs: 500 };

export class SignInLimits {
  readonly #byAddress: RateLimiter;
  /** By name: for addresses that have hardly tried, and for those that have. */
  readonly #firstTries: RateLimiter;
  readonly #furtherTries: RateLimiter;
  readonly #passwordChanges: RateLimiter;
  readonly #failureRows: RateLimiter;
  #untoldFailures = 0;

  constructor(now: () => Date) {
    this.#byAddress = new RateLimiter(perAddress, now);
    this.#firstTries = new RateLimiter(perName, now);
    this.#furtherTries = new RateLimiter(perName, now);
    this.#passwordChanges = new RateLimiter(perPasswordChange, now);
    this.#failureRows = new RateLimiter(failureRows, now);
  }

  /** @throws AppError `rate_limited` */
  countAttempt(address: string): void {
    refuseAfter(this.#byAddress.take(rateLimitKeyOf(address)));
  }

  /**
   * Counts an attempt at a name from an address from which it never signed in; names that don't exist are treated the
   * same. It is not called for known addresses, so that no flood of others keeps the owner out there. A few addresses
   * that try often can't use up what is reserved for first tries, such as the owner's from a new place.
   * @param failures How often the address was already wrong about the name.
   * @throws AppError `rate_limited`
   */
  countStrangersAttempt(name: string, failures: number): void {
    const limiter = failures < firstTries ? this.#firstTries : this.#furtherTries;
    refuseAfter(limiter.take(name.toLowerCase()));
  }

  /**
   * Counts that a user sets their password. Without this, one who is signed in could take all places in the queue.
   * @throws AppError `rate_limited`
   */
  countPasswordChange(userId: number): void {
    refuseAfter(this.#passwordChanges.take(String(userId)));
  }

  /**
   * Returns undefined if this failure gets no audit row, because a flood must not fill the log; otherwise how many
   * before it got none.
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
