// The memory in which an attempt's output is gathered and masked until it is compressed. Blocks are used again:
// fresh memory for every chunk of a fast producer keeps the garbage collector busier than the compression itself.
import { limits } from '@opsconductor/protocol';

/** Bytes before what is gathered, for what a redactor held back of the chunk before. */
const roomBeforeBytes = 8 * 1024;
const maxIdle = 16;
const idle: Buffer[] = [];

export class GatherBlock {
  readonly #memory: Buffer;
  readonly #capacityBytes: number;
  #bytes = 0;

  /** @param capacityBytes how much is gathered at most; one chunk unless told. */
  constructor(capacityBytes: number = limits.maxChunkRawBytes) {
    this.#memory = idle.pop() ?? Buffer.allocUnsafeSlow(roomBeforeBytes + limits.maxChunkRawBytes);
    this.#capacityBytes = Math.min(Math.max(1, Math.floor(capacityBytes)), limits.maxChunkRawBytes);
  }

  /** Copies as much as there is room for; answers how much that was. */
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

  /** What was gathered, where it is; `roomBeforeBytes` ahead of it are free to be written. */
  get gathered(): Buffer {
    return this.#memory.subarray(roomBeforeBytes, roomBeforeBytes + this.#bytes);
  }

  get roomBeforeBytes(): number {
    return roomBeforeBytes;
  }

  /** Gives the memory to the next block: nobody may look at what was gathered any more. Once only. */
  release(): void {
    if (idle.length < maxIdle) idle.push(this.#memory);
  }
}
