// Reads what a target sends into one buffer, again and again. A new buffer for each read of a fast command's output
// would keep the allocator and the garbage collector busy, and ssh2 copies what it decrypts anyway.
import type { OnReadOpts, Socket } from 'node:net';

const readBytes = 128 * 1024;

export class ReusedReads {
  #isReused = false;

  /** From now on a listener must be done with the bytes when it returns. Before this, each read is a copy. */
  reuse(): void {
    this.#isReused = true;
  }

  /**
   * Returns the `onread` option for `connect()`. Data that comes before anyone listens to `data` is lost, so listen in
   * the turn in which the socket connects.
   */
  into(socket: () => Socket): OnReadOpts {
    return {
      buffer: Buffer.allocUnsafeSlow(readBytes),
      callback: (bytes, memory) => {
        const read = Buffer.from(memory.buffer, memory.byteOffset, bytes);
        socket().emit('data', this.#isReused ? read : Buffer.from(read));
        return true;
      },
    };
  }
}
