// Whether this machine's disk takes what must be kept: the journal, and the output of steps. While it does not nothing new
// is begun, and what could not be begun is handed back.
import { open, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { limits } from '@opsconductor/protocol';
import type { Logger } from 'pino';
import type { Journal } from '../journal/journal.ts';

export interface DiskOptions {
  journal: Journal;
  spoolFolder: string;
  log: Logger;
}

export class Disk {
  readonly #options: DiskOptions;
  #spoolRefuses = false;
  /** Called when it begins to refuse, before whoever waits for it is told. */
  onRefusal: () => void = () => undefined;

  constructor(options: DiskOptions) {
    this.#options = options;
    options.journal.onFailure = (error) => {
      options.log.error({ err: error }, 'nothing new is taken until the journal can be written again');
      this.onRefusal();
    };
  }

  get refuses(): boolean {
    return this.#spoolRefuses || this.#options.journal.failure !== undefined;
  }

  /** Output of a step could not be kept. */
  outputRefused(error: unknown): void {
    if (this.#spoolRefuses) return;
    this.#spoolRefuses = true;
    this.#options.log.error({ err: error }, 'nothing new is taken until output can be kept again');
    this.onRefusal();
  }

  /** Looks whether it takes again what it has refused. Never rejects. */
  async mend(): Promise<void> {
    const { journal, log } = this.#options;
    if (journal.failure !== undefined && (await journal.mend())) log.info('the journal is written again');
    if (this.#spoolRefuses && (await this.#takesOutput())) {
      this.#spoolRefuses = false;
      log.info('output can be kept again');
    }
  }

  /** By a file as large as a chunk may be, since a full disk takes a smaller one. */
  async #takesOutput(): Promise<boolean> {
    // One that is left behind is removed at the next start, as all that is no attempt's.
    const path = join(this.#options.spoolFolder, 'probe');
    try {
      const file = await open(path, 'w', 0o600);
      try {
        // Until all is written: a single write to a disk that is nearly full takes what fits and is no error.
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
