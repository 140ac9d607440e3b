// An empty file that waits to become an attempt's spool: to make one takes several times as long as to write the first
// few bytes to it, and somebody waits for those.
import { close, closeSync, open, renameSync } from 'node:fs';
import { unlink } from 'node:fs/promises';
import { promisify } from 'node:util';

const openFile = promisify(open);
const closeFile = promisify(close);

export class SpareFile {
  readonly #path: string;
  /** Descriptor, while there is one. */
  #file: number | undefined;
  #making: Promise<void> | undefined;
  #closed = false;

  constructor(path: string) {
    this.#path = path;
  }

  /** Gives the spare file that path, and answers its descriptor; undefined while there is none. The next one is made. */
  take(path: string): number | undefined {
    const file = this.#file;
    this.#file = undefined;
    const taken = file === undefined ? undefined : this.#rename(file, path);
    // Behind what waits for the bytes that are to be written now.
    this.#making ??= new Promise(setImmediate).then(() => this.#make());
    return taken;
  }

  #rename(file: number, path: string): number | undefined {
    try {
      renameSync(this.#path, path);
      return file;
    } catch {
      // Whoever asked makes a file, and says why that can't be.
      closeSync(file);
      return undefined;
    }
  }

  /** Never rejects: without one, attempts make their files themselves. */
  async #make(): Promise<void> {
    if (this.#closed) return;
    this.#file = await openFile(this.#path, 'w+', 0o600).catch(() => undefined);
    this.#making = undefined;
  }

  /** Resolves when the file is removed, and none is made any more. */
  async remove(): Promise<void> {
    this.#closed = true;
    await this.#making;
    const file = this.#file;
    this.#file = undefined;
    if (file === undefined) return;
    await closeFile(file);
    await unlink(this.#path).catch(() => undefined);
  }
}
