// Passwords hashed with scrypt (RFC 7914). Not with argon2id, although newer versions of Node have it: servers of one
// installation may run on different versions, and each must verify what the others hashed.
import { randomBytes, scrypt, timingSafeEqual } from 'node:crypto';
import { passwordCost } from './password-cost.ts';
import { type Applicant, PasswordQueue } from './password-queue.ts';

const hashBytes = 32;
const saltBytes = 16;
const queue = new PasswordQueue({ maxConcurrent: 2, maxKnown: 16, maxOthers: 32, maxPerAddress: 4 });
const signedIn: Applicant = { address: 'signed in', isKnown: true };

/** Returns `scrypt$N$r$p$salt$hash`, base64url. For signed-in users, so the queue treats them as known. */
export async function hashPassword(password: string): Promise<string> {
  return queue.run(signedIn, async () => {
    const salt = randomBytes(saltBytes);
    const hash = await derive(password, salt, passwordCost);
    return [
      'scrypt',
      passwordCost.N,
      passwordCost.r,
      passwordCost.p,
      salt.toString('base64url'),
      hash.toString('base64url'),
    ].join('$');
  });
}

/**
 * Returns whether the password is right. Without a stored hash it takes as long and returns false, so that the time
 * doesn't reveal which names exist.
 * @param admit Called once there is a place in the queue; if it throws, the attempt is refused before any work.
 * @throws AppError `unavailable` if too many are waiting already.
 */
export async function verifyPassword(
  password: string,
  stored: string | null | undefined,
  applicant: Applicant = signedIn,
  admit: () => Promise<void> = async () => {},
): Promise<boolean> {
  return queue.run(applicant, async () => {
    await admit();
    const known = parse(stored);
    if (known === undefined) {
      await derive(password, randomBytes(saltBytes), passwordCost);
      return false;
    }
    const actual = await derive(password, known.salt, known.cost);
    return known.hash.length === actual.length && timingSafeEqual(known.hash, actual);
  });
}

/**
 * Returns whether it was hashed with another cost than the current one; it is then hashed again the next time its
 * password is known.
 */
export function isOutdated(stored: string): boolean {
  const known = parse(stored)?.cost;
  return known?.N !== passwordCost.N || known.r !== passwordCost.r || known.p !== passwordCost.p;
}

function parse(
  stored: string | null | undefined,
): { cost: typeof passwordCost; salt: Buffer; hash: Buffer } | undefined {
  const [scheme, N, r, p, salt, hash] = (stored ?? '').split('$');
  if (scheme !== 'scrypt' || salt === undefined || hash === undefined) return undefined;
  return {
    cost: { N: Number(N), r: Number(r), p: Number(p) },
    salt: Buffer.from(salt, 'base64url'),
    hash: Buffer.from(hash, 'base64url'),
  };
}

async function derive(password: string, salt: Buffer, parameters: typeof passwordCost): Promise<Buffer> {
  return new Promise<Buffer>((resolve, reject) => {
    // NFKC, so that the same password typed on different keyboards matches (NIST SP 800-63B section 5.1.1.2).
    const text = password.normalize('NFKC');
    const maxmem = 256 * parameters.N * parameters.r;
    scrypt(text, salt, hashBytes, { ...parameters, maxmem }, (error, key) => {
      if (error === null) resolve(key);
      else reject(error);
    });
  });
}
