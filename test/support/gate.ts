// A FIFO on the target: a command waits in it until the test lets it through.
import { execFile } from 'node:child_process';
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { promisify } from 'node:util';

export class Gate {
  /** Shell code that waits here, once for each opening. */
  readonly wait: string;
  readonly #file: FileHandle;

  private constructor(path: string, file: FileHandle) {
    this.wait = `read -r opened < ${path}`;
    this.#file = file;
  }

  static async make(path: string): Promise<Gate> {
    await promisify(execFile)('mkfifo', ['-m', '666', path]);
    // Opened for reading and writing, so that neither side waits for the other to open it.
    return new Gate(path, await open(path, constants.O_RDWR | constants.O_NONBLOCK));
  }

  async open(): Promise<void> {
    await this.#file.write('open\n');
  }

  async close(): Promise<void> {
    await this.#file.close();
  }
}
