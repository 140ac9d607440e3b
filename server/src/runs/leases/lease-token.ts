// Random lease tokens. A call for random bytes takes microseconds however few they are, so bytes for many tokens are
// drawn at once.
import { randomFillSync } from 'node:crypto';

const tokenBytes = 16;
const drawn = Buffer.alloc(256 * tokenBytes);
let used = drawn.length;

export function newLeaseToken(): string {
  if (used === drawn.length) {
    randomFillSync(drawn);
    used = 0;
  }
  used += tokenBytes;
  return drawn.toString('hex', used - tokenBytes, used);
}
