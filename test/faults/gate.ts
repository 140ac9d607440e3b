// A gate at which commands on the targets wait: a pipe that nobody can open for reading until somebody opens it for
// writing.
import { execFile } from 'node:child_process';
import { chmod, type FileHandle, open, rm } from 'node:fs/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);

export class Gate {
  readonly #path: string;
  #open: Promise<FileHandle> | undefined;

  private constructor(path: string) {
    this.#path = path;
  }

  /** Makes a closed gate. */
  static async make(path: string): Promise<Gate> {
    await rm(path, { force: true });
    await run('mkfifo', [path]);
    await chmod(path, 0o644);
    return new Gate(path);
  }

  /** Lets everything that waits continue; whatever arrives later doesn't wait. */
  async open(): Promise<void> {
    // Also for reading, because that doesn't wait for anybody.
    this.#open ??= open(this.#path, 'r+');
    await this.#open;
  }

  async remove(): Promise<void> {
    await (await this.#open)?.close();
    await rm(this.#path, { force: true });
  }
}
