// Reads what a target sends into one buffer, again and again. A new buffer for each read of a fast command's output
// would keep the allocator and the garbage collector busy, and decrypting copies it anyway: all but ssh2's ChaCha20,
// which keeps a packet as it was read until the end of the packet has come.
import type { OnReadOpts, Socket } from 'node:net';
import type { Client } from 'ssh2';

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

/** Whether ssh2 keeps a packet of the cipher as it was read until the end of the packet has come. */
export function keepsReads(cipher: string): boolean {
  return cipher.startsWith('chacha20');
}

/** Gives the current decipher of a client copies of what is read, also of the rest of the read that brought its keys. */
export function copyReads(client: Client): void {
  const { _decipher: decipher } = (
    client as unknown as {
      _protocol: {
        _decipher: { decrypt(data: Buffer, at: number, end: number): number | false | undefined };
      };
    }
  )._protocol;
  const { decrypt } = decipher;
  decipher.decrypt = (data, at, end) => {
    const stopped = decrypt.call(decipher, Buffer.from(data.subarray(at, end)), 0, end - at);
    return typeof stopped === 'number' ? at + stopped : stopped;
  };
}
