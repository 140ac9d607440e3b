// How often one may try to sign in: by address, and for passwords also by name, so that many addresses guess no faster.
import { RateLimiter, rateLimitKeyOf, refuseAfter } from './rate-limiter.ts';

const perAddress = { burst: 20, refillMs: 3_000 };
const perName = { burst: 10, refillMs: 60_000 };

export class SignInLimits {
  readonly #byAddress: RateLimiter;
  readonly #byName: RateLimiter;

  constructor(now: () => Date) {
    this.#byAddress = new RateLimiter(perAddress, now);
    this.#byName = new RateLimiter(perName, now);
  }

  /** @throws AppError `rate_limited` */
  countAttempt(address: string): void {
    refuseAfter(this.#byAddress.take(rateLimitKeyOf(address)));
  }

  /**
   * Counted before the password is checked, so that guesses at once are bounded too. For names that don't exist alike.
   *
   * @throws AppError `rate_limited`
   */
  countPasswordAttempt(name: string): void {
    refuseAfter(this.#byName.take(name));
  }

  /** A right password clears the count. */
  clearPasswordAttempts(name: string): void {
    this.#byName.reset(name);
  }
}
