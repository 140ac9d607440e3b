// Gathers what a target sends into one piece of memory. A list of the pieces would take hundreds of bytes for each, so a
// target that sends single bytes could fill the agent's memory long before a limit on their sum is reached.

const firstBytes = 4 * 1024;

export class GatheredBytes {
  #memory: Buffer = Buffer.alloc(0);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** Copies the piece, so that it and the packet that it came in can be released. */
  add(piece: Buffer): void {
    const needed = this.#length + piece.length;
    if (needed > this.#memory.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(firstBytes, needed, 2 * this.#memory.length));
      this.#memory.copy(larger, 0, 0, this.#length);
      this.#memory = larger;
    }
    piece.copy(this.#memory, this.#length);
    this.#length = needed;
  }

  /** Returns all bytes so far. Later additions don't change them. */
  bytes(): Buffer {
    return this.#memory.subarray(0, this.#length);
  }
}
