// Knows whether this machine's disk accepts what must be kept: the journal and the output of steps. While it doesn't,
// nothing new is begun, and what could not begin is handed back.
import { open, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { limits } from '@opsconductor/protocol';
import type { Logger } from 'pino';
import type { Journal } from '../journal/journal.ts';
import { freeBytes } from '../sftp/local/room.ts';

/** For the output of what is running, and the journal, when nothing new is begun any more. */
const defaultMinFreeBytes = 64 * 1024 * 1024;

export interface DiskOptions {
  journal: Journal;
  spoolFolder: string;
  log: Logger;
  /** With less room than this, nothing new is begun. 64 MiB by default; 0 for no limit. */
  minFreeBytes?: number | undefined;
  /** Measures the bytes that are free where a folder is; undefined if that is not known. */
  measureFree?: ((folder: string) => Promise<number | undefined>) | undefined;
}

export class Disk {
  readonly #options: DiskOptions;
  #spoolRefuses = false;
  #isNearlyFull = false;
  /** Called when the disk begins to refuse, before anything that waits for a write is rejected. */
  onRefusal: () => void = () => undefined;
  /** Called when there is little room. Removes what can be removed and returns how many bytes that frees. */
  makeRoom: () => Promise<number> = async () => 0;

  constructor(options: DiskOptions) {
    this.#options = options;
    options.journal.onFailure = (error) => {
      options.log.error(
        { err: error },
        'the journal could not be written; no new steps are taken until it can (make room on the disk, or fix its permissions)',
      );
      this.onRefusal();
    };
  }

  get refuses(): boolean {
    return this.#isNearlyFull || this.#spoolRefuses || this.#options.journal.failure !== undefined;
  }

  /** Notes that output of a step could not be kept. */
  outputRefused(error: unknown): void {
    if (this.#spoolRefuses) return;
    this.#spoolRefuses = true;
    this.#options.log.error(
      { err: error },
      'output of a step could not be written; no new steps are taken until it can (make room on the disk, or fix its permissions)',
    );
    this.onRefusal();
  }

  /** Looks how much room there is: output that could not be kept is lost, a step that was not begun is not. Never rejects. */
  async measure(): Promise<void> {
    const { spoolFolder, log, minFreeBytes = defaultMinFreeBytes, measureFree = freeBytes } = this.#options;
    const isLittle = (bytes: number | undefined) => bytes !== undefined && bytes < minFreeBytes;
    let free = await measureFree(spoolFolder);
    if (isLittle(free) && (await this.makeRoom()) > 0) free = await measureFree(spoolFolder);
    const isNearlyFull = isLittle(free);
    if (isNearlyFull === this.#isNearlyFull) return;
    this.#isNearlyFull = isNearlyFull;
    if (!isNearlyFull) {
      log.info({ freeBytes: free }, 'the disk has room again');
      return;
    }
    log.error(
      { freeBytes: free, minFreeBytes },
      'the disk is nearly full; no new steps are taken until it has room (--min-free-mb)',
    );
    this.onRefusal();
  }

  /** Tries again whatever the disk has refused. Never rejects. */
  async mend(): Promise<void> {
    const { journal, log } = this.#options;
    if (journal.failure !== undefined && (await journal.mend())) log.info('the journal can be written again');
    if (this.#spoolRefuses && (await this.#takesOutput())) {
      this.#spoolRefuses = false;
      log.info('output of steps can be written again');
    }
  }

  /** Writes a file as large as a chunk may be, since a disk that is nearly full still takes a smaller one. */
  async #takesOutput(): Promise<boolean> {
    // If it is left behind, the next start removes it, like every spool file that belongs to no attempt.
    const path = join(this.#options.spoolFolder, 'probe');
    try {
      const file = await open(path, 'w', 0o600);
      try {
        // `writeFile` writes until everything is written; one `write` to a nearly full disk may write a part without an
        // error.
        await file.writeFile(Buffer.alloc(limits.maxChunkStoredBytes));
      } finally {
        await file.close();
        await unlink(path);
      }
      return true;
    } catch {
      return false;
    }
  }
}
