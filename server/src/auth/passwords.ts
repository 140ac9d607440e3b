// Passwords by scrypt (RFC 7914) with N=2^15, r=8, p=1: 32 MiB and some 85 ms each, so few at once are computed and
// few may wait.
import { randomBytes, scrypt, timingSafeEqual } from 'node:crypto';
import { AppError } from '../errors.ts';

const cost = { N: 2 ** 15, r: 8, p: 1 };
const hashBytes = 32;
const saltBytes = 16;
const maxConcurrent = 2;
const maxWaiting = 32;

let running = 0;
const waiting: (() => void)[] = [];

/** `scrypt$N$r$p$salt$hash`, base64url. */
export async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(saltBytes);
  const hash = await derive(password, salt, cost);
  return ['scrypt', cost.N, cost.r, cost.p, salt.toString('base64url'), hash.toString('base64url')].join('$');
}

/**
 * Whether the password is the one. Without a stored hash it takes as long and is false, so that time doesn't tell
 * which names exist.
 *
 * @throws AppError `unavailable` when too many wait already.
 */
export async function verifyPassword(password: string, stored: string | null | undefined): Promise<boolean> {
  const [scheme, n, r, p, salt, hash] = (stored ?? '').split('$');
  if (scheme !== 'scrypt' || salt === undefined || hash === undefined) {
    await derive(password, randomBytes(saltBytes), cost);
    return false;
  }
  const expected = Buffer.from(hash, 'base64url');
  const parameters = { N: Number(n), r: Number(r), p: Number(p) };
  const actual = await derive(password, Buffer.from(salt, 'base64url'), parameters);
  return expected.length === actual.length && timingSafeEqual(expected, actual);
}

async function derive(password: string, salt: Buffer, parameters: typeof cost): Promise<Buffer> {
  await enter();
  try {
    return await new Promise<Buffer>((resolve, reject) => {
      // NFKC, so that one password typed on two keyboards is one (NIST SP 800-63B section 5.1.1.2).
      const text = password.normalize('NFKC');
      const maxmem = 256 * parameters.N * parameters.r;
      scrypt(text, salt, hashBytes, { ...parameters, maxmem }, (error, key) => {
        if (error === null) resolve(key);
        else reject(error);
      });
    });
  } finally {
    leave();
  }
}

async function enter(): Promise<void> {
  if (running < maxConcurrent) {
    running++;
    return;
  }
  if (waiting.length >= maxWaiting) {
    throw new AppError('unavailable', 'Too many sign-ins at once; try again in a few seconds.', {
      retryAfterS: 5,
    });
  }
  await new Promise<void>((resolve) => waiting.push(resolve));
}

/** The place goes to who waits longest, without ever being free. */
function leave(): void {
  const next = waiting.shift();
  if (next === undefined) running--;
  else next();
}
