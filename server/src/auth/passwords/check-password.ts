// Checks whether a password is a user's. Wrong ones are counted per name and address: this keeps others from guessing
// the password without letting them lock its owner out.
import type { LockRule } from '../../store/people/sign-in-attempts.ts';
import { countAttempt, findStanding, noteSuccess } from '../../store/people/sign-in-attempts.ts';
import type { IdentityDeps } from '../identity-deps.ts';
import { rateLimitKeyOf, refuseAfter } from '../limits/rate-limiter.ts';
import { verifyPassword } from './passwords.ts';

const minuteMs = 60_000;
const lockRule: LockRule = {
  failures: 10,
  firstLockMs: minuteMs,
  maxLockMs: 15 * minuteMs,
  forgetAfterMs: 60 * minuteMs,
};

/**
 * Checks a password, and counts the attempt.
 * @param attempt.stored Undefined or null for a name that nobody has or that has no password: never right, after the
 * same work and with the same limits.
 * @throws AppError `rate_limited` while the name is locked for the address, or unknown addresses try it too often;
 * `unavailable` if too many are being checked.
 */
export async function checkPassword(
  deps: Pick<IdentityDeps, 'sql' | 'now' | 'signInLimits'>,
  attempt: { name: string; password: string; stored: string | null | undefined; address: string },
  options: { isSignedIn: boolean } = { isSignedIn: false },
): Promise<boolean> {
  const { sql, signInLimits } = deps;
  const now = deps.now();
  const of = { name: attempt.name, address: rateLimitKeyOf(attempt.address) };
  const standing = await findStanding(sql, of, now);
  refuseLocked(standing.lockedUntil, now);
  const isKnown = options.isSignedIn || standing.isKnown;
  const applicant = { address: of.address, isKnown };
  const isRight = await verifyPassword(attempt.password, attempt.stored, applicant, async () => {
    // Counted only once it has a place in the queue: an attempt that was turned away has guessed nothing, and each row
    // should cost its sender the work of a password.
    if (!isKnown) {
      const { failures } = await findStanding(sql, of, deps.now());
      signInLimits.countStrangersAttempt(attempt.name, failures);
    }
    refuseLocked(await countAttempt(sql, of, deps.now(), lockRule), deps.now());
  });
  if (isRight) await noteSuccess(sql, of, deps.now());
  return isRight;
}

function refuseLocked(lockedUntil: Date | null, now: Date): void {
  if (lockedUntil !== null) refuseAfter(Math.max(1, lockedUntil.getTime() - now.getTime()));
}
