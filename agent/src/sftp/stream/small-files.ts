// Gathers small files that are to be copied, and has many of them moved together while the next ones are gathered. What can't
// be moved so, for whatever reason, is told as not moved and goes by itself, which also says what is wrong with it.
import type { CopiedFile, FileCopy } from '../copy/copy-file.ts';
import { Slots } from '../copy/slots.ts';
import type { MemoryShare, Shared } from '../memory-share.ts';

/** Larger ones go as fast by themselves. */
export const maxSmallBytes = 128 * 1024;
/** Fewer go as fast by themselves. */
const fewestAtOnce = 12;
const mostAtOnce = 500;
/** No fewer than are worth it, however large they are: otherwise none would be moved together where transfers are many. */
const bytesAtOnce: Shared = {
  most: 2 * 1024 * 1024,
  together: 6 * 1024 * 1024,
  least: fewestAtOnce * maxSmallBytes,
};
/** One is moved while the one before is put in its places. */
const movesAtATime = 2;
/** Wherever so many went wrong as a whole, the next ones would too. */
const maxFailures = 3;
/** That wait or are under way: a bound for what is held of them. */
const waiting: Shared = { most: 2_000, together: 8_000, least: 200 };

export interface SmallFile {
  copy: FileCopy;
  /** As it was listed. */
  size: number;
  mtimeS: number;
}

/** Moves files to or from a target together. */
export interface Mover {
  /** What became of each; undefined for those that were not moved. All of them where it can't be done at all. */
  move(files: readonly SmallFile[]): Promise<(CopiedFile | undefined)[]>;
  /** Whether it can do anything with a file that lies and goes there. */
  takes(file: SmallFile): boolean;
  /** Lets go of the target, with nothing left there. */
  end(): Promise<void>;
  /** Ends what is under way. */
  stop(): Promise<void>;
}

export interface MoverOptions {
  /** The directory of the target that all of it lies below; known once something is moved. */
  top(): string;
  /** Files get the times of their sources. */
  keepsTimes: boolean;
  /** Told of bytes as they are in their places. */
  moved(bytes: number): void;
}

interface Waiting extends SmallFile {
  settle(copied: CopiedFile | undefined): void;
}

export class SmallFiles {
  readonly #mover: Mover;
  readonly #places: Slots;
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
    this.#places = new Slots(share.partOf(waiting));
    this.#signal = signal;
    signal.addEventListener('abort', this.#onAbort);
  }

  takes(file: SmallFile): boolean {
    return !this.#isOff && file.size <= maxSmallBytes && this.#mover.takes(file);
  }

  /** Undefined where it was not moved. `gathered` is called when the file is in the queue. Never rejects. */
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

  /** Whether nothing more is moved so. */
  get #isOff(): boolean {
    return this.#failures >= maxFailures || this.#signal.aborted;
  }

  /** When whoever gathers has nothing more to gather at once. */
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
