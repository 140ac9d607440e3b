import { Sha256 } from './sha256.ts';

/** Read and hashed at once: some 60 ms of work, so that a page that has no other thread keeps answering. */
const readAtOnce = 4 * 1024 * 1024;

/** Reads a file piece by piece, and hashes what it has read. */
export class DigestedFile {
  readonly #file: Blob;
  readonly #hash = new Sha256();
  #at = 0;
  #stopped = false;

  constructor(file: Blob) {
    this.#file = file;
  }

  async upTo(end: number, onRead: (bytes: number) => void): Promise<string> {
    while (this.#at < end) {
      if (this.#stopped) throw new DOMException('Stopped.', 'AbortError');
      const piece = this.#file.slice(this.#at, Math.min(end, this.#at + readAtOnce));
      this.#hash.update(new Uint8Array(await piece.arrayBuffer()));
      this.#at += piece.size;
      onRead(this.#at);
    }
    return this.#hash.hex();
  }

  stop(): void {
    this.#stopped = true;
  }
}
