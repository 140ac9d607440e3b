// An empty file, ready to become an attempt's spool. Creating a file takes several times as long as writing the first
// few bytes to it, and somebody waits for those.
import { close, closeSync, open, renameSync } from 'node:fs';
import { unlink } from 'node:fs/promises';
import { promisify } from 'node:util';

const openFile = promisify(open);
const closeFile = promisify(close);

export class SpareFile {
  readonly #path: string;
  /** The descriptor, while there is a spare file. */
  #file: number | undefined;
  #making: Promise<void> | undefined;
  #closed = false;

  constructor(path: string) {
    this.#path = path;
  }

  /**
   * Renames the spare file to that path and returns its descriptor, or undefined if there is none. Then makes the next
   * one.
   */
  take(path: string): number | undefined {
    const file = this.#file;
    this.#file = undefined;
    const taken = file === undefined ? undefined : this.#rename(file, path);
    // Later in the event loop, so that the bytes to be written now don't have to wait.
    this.#making ??= new Promise(setImmediate).then(() => this.#make());
    return taken;
  }

  #rename(file: number, path: string): number | undefined {
    try {
      renameSync(this.#path, path);
      return file;
    } catch {
      // The caller then makes a file itself, and reports why it can't if that fails.
      closeSync(file);
      return undefined;
    }
  }

  /** Never rejects: without a spare, attempts create their files themselves. */
  async #make(): Promise<void> {
    if (this.#closed) return;
    this.#file = await openFile(this.#path, 'w+', 0o600).catch(() => undefined);
    this.#making = undefined;
  }

  /** Resolves when the file is removed. No more are made. */
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
