// The buffers that transfers use to move bytes. Their number is limited, whatever the number and size of files and the
// number of transfers.
import type { MemoryShare, Shared } from '../memory-share.ts';

/** The most that OpenSSH writes or reads in one request. */
export const chunkBytes = 255 * 1024;
/** At least two, so that one can be read while the other is written. */
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
    // Other transfers have begun since it was made, so this one is dropped; waiters get one of those that remain.
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
