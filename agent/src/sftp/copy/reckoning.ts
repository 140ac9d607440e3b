// How much a tree comes to, and when that is known: before, more may be found in what was not listed or compared yet.

/** One entry of the tree. */
export interface Part {
  isOpen: boolean;
  isFound: boolean;
}

export interface Reckoned {
  /** A file that is moved. */
  found(bytes: number): void;
  /** All that there is has been found. */
  counted(): void;
}

export class Reckoning {
  readonly #tell: Reckoned;
  #open = 0;

  constructor(tell: Reckoned) {
    this.#tell = tell;
  }

  /** Of an entry it is not known yet what it comes to. */
  open(): Part {
    this.#open += 1;
    return { isOpen: true, isFound: false };
  }

  /** It is a file that is moved. Once. */
  found(part: Part, bytes: number): void {
    if (!part.isFound) this.#tell.found(bytes);
    part.isFound = true;
    this.close(part);
  }

  /** What it comes to is told by now, if anything. */
  close(part: Part): void {
    if (!part.isOpen) return;
    part.isOpen = false;
    this.#open -= 1;
    if (this.#open === 0) this.#tell.counted();
  }
}
