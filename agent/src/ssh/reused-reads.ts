// What a target sends is read into one piece of memory, again and again: a new one for each read of a fast command's
// output keeps allocator and garbage collector busy, and ssh2 copies out of it what it decrypts anyway.
import type { OnReadOpts, Socket } from 'node:net';

const readBytes = 128 * 1024;

export class ReusedReads {
  #isReused = false;

  /** From here on whoever listens must be done with the bytes when it returns. Until then each read is a copy. */
  reuse(): void {
    this.#isReused = true;
  }

  /**
   * For `connect()`. What comes before anybody listens to `data` is lost: listen in the turn in which it connects.
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
