// How often one may try to enroll an agent: by address, and by token, so that many addresses try one no faster.
import { parseEnrollmentToken } from '@opsconductor/protocol';
import { RateLimiter, rateLimitKeyOf, refuseAfter } from './rate-limiter.ts';
import { hashSecretToken } from './secret-token.ts';

/** Two requests make an agent, and a site's agents may share one address. */
const perAddress = { burst: 60, refillMs: 1_000 };
/** One agent's tries again after lost replies. */
const perToken = { burst: 10, refillMs: 30_000 };

export class EnrollmentLimits {
  readonly #byAddress: RateLimiter;
  readonly #byToken: RateLimiter;

  constructor(now: () => Date) {
    this.#byAddress = new RateLimiter(perAddress, now);
    this.#byToken = new RateLimiter(perToken, now);
  }

  /**
   * Counts a request, with the token that it brings where there is one.
   *
   * @throws AppError `rate_limited`
   */
  countRequest(address: string, token?: string): void {
    refuseAfter(this.#byAddress.take(rateLimitKeyOf(address)));
    const secret = token === undefined ? undefined : parseEnrollmentToken(token)?.secret;
    if (secret !== undefined) refuseAfter(this.#byToken.take(hashSecretToken(secret).toString('base64')));
  }
}
