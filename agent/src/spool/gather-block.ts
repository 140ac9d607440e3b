// The memory in which an attempt's output is gathered and masked until it is compressed. Blocks are reused: fresh
// memory for every chunk of a fast producer would keep the garbage collector busier than the compression itself.
import { limits } from '@opsconductor/protocol';

/** Room before the gathered bytes, for what a redactor held back from the previous chunk. */
const roomBeforeBytes = 8 * 1024;
const maxIdle = 16;
const idle: Buffer[] = [];

export class GatherBlock {
  readonly #memory: Buffer;
  readonly #capacityBytes: number;
  #bytes = 0;

  /** @param capacityBytes how much is gathered at most; one chunk by default. */
  constructor(capacityBytes: number = limits.maxChunkRawBytes) {
    this.#memory = idle.pop() ?? Buffer.allocUnsafeSlow(roomBeforeBytes + limits.maxChunkRawBytes);
    this.#capacityBytes = Math.min(Math.max(1, Math.floor(capacityBytes)), limits.maxChunkRawBytes);
  }

  /** Copies as much as there is room for. Returns how many bytes that was. */
  append(bytes: Buffer): number {
    const taken = bytes.copy(
      this.#memory,
      roomBeforeBytes + this.#bytes,
      0,
      Math.min(bytes.length, this.#capacityBytes - this.#bytes),
    );
    this.#bytes += taken;
    return taken;
  }

  get length(): number {
    return this.#bytes;
  }

  get isFull(): boolean {
    return this.#bytes >= this.#capacityBytes;
  }

  /** The gathered bytes in place. The `roomBeforeBytes` in front of them may be overwritten. */
  get gathered(): Buffer {
    return this.#memory.subarray(roomBeforeBytes, roomBeforeBytes + this.#bytes);
  }

  get roomBeforeBytes(): number {
    return roomBeforeBytes;
  }

  /** Gives the memory to the next block. Call it once, when nobody needs the gathered bytes any more. */
  release(): void {
    if (idle.length < maxIdle) idle.push(this.#memory);
  }
}
