// How often enrollment may be tried: by address, and by token, so that many addresses can't try one token faster.
import { parseEnrollmentToken } from '@opsconductor/protocol';
import { hashSecretToken } from '../secret-token.ts';
import { RateLimiter, rateLimitKeyOf, refuseAfter } from './rate-limiter.ts';

/** Enrolling an agent takes two requests, and the agents of a site may share one address. */
const perAddress = { burst: 60, refillMs: 1_000 };
/** For one agent that repeats requests after lost replies. */
const perToken = { burst: 10, refillMs: 30_000 };

export class EnrollmentLimits {
  readonly #byAddress: RateLimiter;
  readonly #byToken: RateLimiter;

  constructor(now: () => Date) {
    this.#byAddress = new RateLimiter(perAddress, now);
    this.#byToken = new RateLimiter(perToken, now);
  }

  /**
   * Counts a request, and the token in it, if there is one.
   * @throws AppError `rate_limited`
   */
  countRequest(address: string, token?: string): void {
    refuseAfter(this.#byAddress.take(rateLimitKeyOf(address)));
    const secret = token === undefined ? undefined : parseEnrollmentToken(token)?.secret;
    if (secret !== undefined) refuseAfter(this.#byToken.take(hashSecretToken(secret).toString('base64')));
  }
}
