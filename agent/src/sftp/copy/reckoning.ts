// Adds up the total of a tree, and notices when it is final: until everything is listed and compared, it may still
// grow.

/** One entry of the tree. */
export interface Part {
  isOpen: boolean;
  isFound: boolean;
}

export interface Reckoned {
  /** Called for each file that is moved. */
  found(bytes: number): void;
  /** Called when everything has been found, so that the total is final. */
  counted(): void;
}

export class Reckoning {
  readonly #tell: Reckoned;
  #open = 0;

  constructor(tell: Reckoned) {
    this.#tell = tell;
  }

  /** Adds an entry whose contribution isn't known yet. */
  open(): Part {
    this.#open += 1;
    return { isOpen: true, isFound: false };
  }

  /** Counts the entry as a file that is moved. Counts it only once. */
  found(part: Part, bytes: number): void {
    if (!part.isFound) this.#tell.found(bytes);
    part.isFound = true;
    this.close(part);
  }

  /** Marks the entry's contribution as known. */
  close(part: Part): void {
    if (!part.isOpen) return;
    part.isOpen = false;
    this.#open -= 1;
    if (this.#open === 0) this.#tell.counted();
  }
}
