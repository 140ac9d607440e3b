// Reads what a target sends into one buffer, again and again. A new buffer for each read of a fast command's output
// would keep the allocator and the garbage collector busy, and decrypting copies it anyway: all but ssh2's ChaCha20,
// which keeps a packet as it was read until the end of the packet has come.
import type { OnReadOpts, Socket } from 'node:net';

/** One buffer for all connections: what is read is handed on before anything else is read. */
const memory = Buffer.allocUnsafeSlow(1024 * 1024);

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
      buffer: memory,
      callback: (bytes) => {
        const read = memory.subarray(0, bytes);
        socket().emit('data', this.#isReused ? read : Buffer.from(read));
        return true;
      },
    };
  }
}
