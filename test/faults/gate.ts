// A gate that commands on the targets wait at: a pipe, which nobody can open to read until somebody has opened it to write.
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

  /** Closed. */
  static async make(path: string): Promise<Gate> {
    await rm(path, { force: true });
    await run('mkfifo', [path]);
    await chmod(path, 0o644);
    return new Gate(path);
  }

  /** Whoever waits goes on, and whoever comes does not wait. */
  async open(): Promise<void> {
    // To read as well, since that waits for nobody.
    this.#open ??= open(this.#path, 'r+');
    await this.#open;
  }

  async remove(): Promise<void> {
    await (await this.#open)?.close();
    await rm(this.#path, { force: true });
  }
}
