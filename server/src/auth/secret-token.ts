// Random secrets that clients present: 256 bits, stored only as SHA-256. A fast hash is enough for what can't be
// guessed.
import { createHash, randomBytes } from 'node:crypto';

/** Returns 256 random bits as base64url, after an optional prefix. */
export function makeSecretToken(prefix = ''): string {
  return prefix + randomBytes(32).toString('base64url');
}

/** Returns what the database keeps of a token. */
export function hashSecretToken(token: string): Buffer {
  return createHash('sha256').update(token, 'utf8').digest();
}
