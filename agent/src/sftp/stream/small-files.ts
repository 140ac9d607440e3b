// Gathers small files and has many of them moved together while the next ones are gathered. A file that can't be moved
// this way, for whatever reason, is reported as not moved; it is then copied by itself, which also reports what is
// wrong with it.

import { Semaphore } from '../../timing/semaphore.ts';
import type { CopiedFile, FileCopy } from '../copy/copy-file.ts';
import type { MemoryShare, Shared } from '../memory-share.ts';

/** Larger files are copied just as fast by themselves. */
export const maxSmallBytes = 128 * 1024;
/** Fewer files are copied just as fast by themselves. */
const fewestAtOnce = 12;
const mostAtOnce = 500;
/**
 * At least enough for `fewestAtOnce` files of any small size: otherwise many transfers at once could move none
 * together.
 */
const bytesAtOnce: Shared = {
  most: 2 * 1024 * 1024,
  together: 6 * 1024 * 1024,
  least: fewestAtOnce * maxSmallBytes,
};
/** One batch is moved while the files of the previous one are put in their places. */
const movesAtATime = 2;
/** After this many batches that failed entirely, further ones are expected to fail too. */
const maxFailures = 3;
/** Limit on files that wait or are in progress, so that the memory they hold is limited. */
const waiting: Shared = { most: 2_000, together: 8_000, least: 200 };

export interface SmallFile {
  copy: FileCopy;
  /** Size in the listing. */
  size: number;
  mtimeS: number;
}

/** Moves files to or from a target together. */
export interface Mover {
  /** Returns the result for each file; undefined for those that were not moved, which may be all of them. */
  move(files: readonly SmallFile[]): Promise<(CopiedFile | undefined)[]>;
  /** Whether it can move a file with this source and destination. */
  takes(file: SmallFile): boolean;
  /** Ends its use of the target and leaves nothing behind there. */
  end(): Promise<void>;
  /** Aborts what is in progress. */
  stop(): Promise<void>;
}

export interface MoverOptions {
  /** The directory of the target that contains everything; known once something is moved. */
  top(): string;
  /** Whether files get the times of their sources. */
  keepsTimes: boolean;
  /** Called with the bytes of files that have reached their places. */
  moved(bytes: number): void;
}

interface Waiting extends SmallFile {
  settle(copied: CopiedFile | undefined): void;
}

export class SmallFiles {
  readonly #mover: Mover;
  readonly #places: Semaphore;
  readonly #share: MemoryShare;
  #waiting: Waiting[] = [];
  #moving = 0;
  #failures = 0;
  #isDue = false;
  readonly #signal: AbortSignal;
  readonly #onAbort = () => void this.#mover.stop();

  constructor(mover: Mover, { signal, share }: { signal: AbortSignal; share: MemoryShare }) {
    this.#mover = mover;
    this.#share = share;
    this.#places = new Semaphore(share.partOf(waiting));
    this.#signal = signal;
    signal.addEventListener('abort', this.#onAbort);
  }

  takes(file: SmallFile): boolean {
    return !this.#isOff && file.size <= maxSmallBytes && this.#mover.takes(file);
  }

  /** Moves a file; undefined if it was not moved. `gathered` is called when the file is in the queue. Never rejects. */
  async move(file: SmallFile, gathered: () => void): Promise<CopiedFile | undefined> {
    await this.#places.take();
    gathered();
    try {
      return await new Promise<CopiedFile | undefined>((settle) => {
        this.#waiting.push({ ...file, settle });
        this.#beginSoon();
      });
    } finally {
      this.#places.give();
    }
  }

  async end(): Promise<void> {
    this.#signal.removeEventListener('abort', this.#onAbort);
    await this.#mover.end();
  }

  /** Whether nothing more is moved together. */
  get #isOff(): boolean {
    return this.#failures >= maxFailures || this.#signal.aborted;
  }

  /** Starts the next batch in a later turn, when no more files are added at once. */
  #beginSoon(): void {
    if (this.#isDue || this.#moving >= movesAtATime) return;
    this.#isDue = true;
    setImmediate(() => {
      this.#isDue = false;
      this.#begin();
    });
  }

  #begin(): void {
    if (this.#waiting.length === 0) return;
    if (this.#moving > 0 && this.#waiting.length < fewestAtOnce) return;
    const files = this.#next();
    if (files.length < fewestAtOnce || this.#isOff) {
      for (const { settle } of files) settle(undefined);
    } else {
      this.#moving += 1;
      void this.#moved(files);
    }
    if (this.#waiting.length > 0) this.#beginSoon();
  }

  #next(): Waiting[] {
    const mostBytes = this.#share.partOf(bytesAtOnce);
    let bytes = 0;
    let count = 0;
    while (count < this.#waiting.length && count < mostAtOnce) {
      bytes += this.#waiting[count]?.size ?? 0;
      if (count > 0 && bytes > mostBytes) break;
      count += 1;
    }
    return this.#waiting.splice(0, count);
  }

  async #moved(files: readonly Waiting[]): Promise<void> {
    const copied = await this.#mover.move(files).catch(() => []);
    if (copied.every((each) => each === undefined)) this.#failures += 1;
    this.#moving -= 1;
    for (const [at, { settle }] of files.entries()) settle(copied[at]);
    this.#beginSoon();
  }
}
