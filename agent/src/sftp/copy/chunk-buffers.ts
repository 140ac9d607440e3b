// The memory that transfers' bytes go through: so many buffers and no more, whatever the number and size of files, and of
// transfers.
import type { MemoryShare, Shared } from '../memory-share.ts';

/** What OpenSSH takes in one request, and reads in one. */
export const chunkBytes = 255 * 1024;
/** Two are enough to read one while the other is written. */
const buffers: Shared = { most: 32, together: 64, least: 2 };

export class ChunkBuffers {
  readonly #share: Pick<MemoryShare, 'partOf'>;
  readonly #free: Buffer[] = [];
  readonly #waiting: ((buffer: Buffer) => void)[] = [];
  #made = 0;

  constructor(share: Pick<MemoryShare, 'partOf'>) {
    this.#share = share;
  }

  async take(): Promise<Buffer> {
    const free = this.#free.pop();
    if (free !== undefined) return free;
    if (this.#made < this.#most) {
      this.#made += 1;
      return Buffer.allocUnsafeSlow(chunkBytes);
    }
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  give(buffer: Buffer): void {
    // Others have begun since it was made. Whoever waits gets one of those that are left.
    if (this.#made > this.#most) {
      this.#made -= 1;
      return;
    }
    const next = this.#waiting.shift();
    if (next === undefined) this.#free.push(buffer);
    else next(buffer);
  }

  get #most(): number {
    return this.#share.partOf(buffers);
  }
}
