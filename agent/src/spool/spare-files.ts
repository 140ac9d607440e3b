// Empty files, ready to become the spools of attempts. Creating a file takes several times as long as writing the first
// few bytes to it, and somebody waits for those. The more files were removed in the last minutes, the longer it takes
// (ext4 passes over their inodes), so a spool that is no longer needed becomes a spare file again.
import { close, closeSync, ftruncateSync, open, renameSync } from 'node:fs';
import { unlink } from 'node:fs/promises';
import { promisify } from 'node:util';

const openFile = promisify(open);
const closeFile = promisify(close);

/** How many are kept at most. Each takes a descriptor. */
const most = 32;

interface Spare {
  path: string;
  file: number;
}

/** Returns where spare files may be, whether they are there or not. */
export function sparePaths(path: string): string[] {
  return Array.from({ length: most }, (_, n) => (n === 0 ? path : `${path}.${n}`));
}

export class SpareFiles {
  readonly #paths: readonly string[];
  readonly #spares: Spare[] = [];
  #making: Promise<void> | undefined;
  #makingPath: string | undefined;
  #closed = false;

  /** @param path of the first one; the others are named by it and a number. */
  constructor(path: string) {
    this.#paths = sparePaths(path);
  }

  /**
   * Renames a spare file to that path and returns its descriptor, or undefined if there is none. If it was the last one,
   * another is made.
   */
  take(path: string): number | undefined {
    const spare = this.#spares.pop();
    const taken = spare === undefined ? undefined : rename(spare, path);
    // Later in the event loop, so that the bytes to be written now don't have to wait.
    if (this.#spares.length === 0) this.#making ??= new Promise(setImmediate).then(() => this.#make());
    return taken;
  }

  /**
   * Makes a file that is no longer needed a spare one. It is emptied before it gets its new name, so that nothing of it
   * is ever found in another attempt's spool. Returns false if it is not wanted; then it is where it was.
   */
  giveBack(path: string, file: number): boolean {
    const free = this.#closed ? undefined : this.#freePath;
    if (free === undefined) return false;
    try {
      ftruncateSync(file);
      renameSync(path, free);
    } catch {
      return false;
    }
    this.#spares.push({ path: free, file });
    return true;
  }

  /** Undefined if enough are there. */
  get #freePath(): string | undefined {
    // What an earlier process left at this path is replaced.
    return this.#paths.find(
      (path) => path !== this.#makingPath && !this.#spares.some((spare) => spare.path === path),
    );
  }

  /** Never rejects: without a spare, attempts create their files themselves. */
  async #make(): Promise<void> {
    const path = this.#spares.length > 0 || this.#closed ? undefined : this.#freePath;
    if (path !== undefined) {
      this.#makingPath = path;
      const file = await openFile(path, 'w+', 0o600).catch(() => undefined);
      if (file !== undefined) this.#spares.push({ path, file });
      this.#makingPath = undefined;
    }
    this.#making = undefined;
  }

  /** Resolves when the files are removed. No more are made. */
  async remove(): Promise<void> {
    this.#closed = true;
    await this.#making;
    for (const { file } of this.#spares.splice(0)) await closeFile(file);
    // Also those that a process left which was killed.
    for (const path of this.#paths) await unlink(path).catch(() => undefined);
  }
}

function rename(spare: Spare, path: string): number | undefined {
  try {
    renameSync(spare.path, path);
    return spare.file;
  } catch {
    // The caller then makes a file itself, and reports why it can't if that fails.
    closeSync(spare.file);
    return undefined;
  }
}
