// The memory that transfers' bytes go through: so many buffers and no more, whatever the number and size of files.

/** What OpenSSH takes in one request, and reads in one. */
export const chunkBytes = 255 * 1024;
const maxBuffers = 32;

export class ChunkBuffers {
  readonly #free: Buffer[] = [];
  readonly #waiting: ((buffer: Buffer) => void)[] = [];
  #made = 0;

  async take(): Promise<Buffer> {
    const free = this.#free.pop();
    if (free !== undefined) return free;
    if (this.#made < maxBuffers) {
      this.#made += 1;
      return Buffer.allocUnsafeSlow(chunkBytes);
    }
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  give(buffer: Buffer): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free.push(buffer);
    else next(buffer);
  }
}
