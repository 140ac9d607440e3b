// What is at work here, as much at a time as there are slots, and what waits for a slot, oldest first.
export interface SlotsOptions<Item> {
  slots: number;
  /** Must not reject. */
  work(item: Item): Promise<void>;
}

export class Slots<Item> {
  readonly #options: SlotsOptions<Item>;
  readonly #waiting: Item[] = [];
  readonly #working = new Set<Item>();
  #isStopped = false;
  #idleWaiters: (() => void)[] = [];

  constructor(options: SlotsOptions<Item>) {
    this.#options = options;
  }

  /** Begins as soon as there is a slot, which may be at once. */
  enter(item: Item): void {
    this.#waiting.push(item);
    this.#fill();
  }

  /** Begins at once, even if every slot is taken: for what goes on by itself already. */
  enterAtOnce(item: Item): void {
    void this.#work(item);
  }

  /** Number of items at work. */
  get working(): number {
    return this.#working.size;
  }

  /** Resolves when nothing is at work. */
  async idle(): Promise<void> {
    while (this.#working.size > 0) await new Promise<void>((resolve) => this.#idleWaiters.push(resolve));
  }

  isWorking(item: Item): boolean {
    return this.#working.has(item);
  }

  /** Returns false if it doesn't wait. */
  withdraw(item: Item): boolean {
    const at = this.#waiting.indexOf(item);
    if (at === -1) return false;
    this.#waiting.splice(at, 1);
    return true;
  }

  /** Returns what was waiting. */
  withdrawAll(): Item[] {
    return this.#waiting.splice(0);
  }

  /** Begins nothing that waits. */
  stop(): void {
    this.#isStopped = true;
  }

  #fill(): void {
    while (!this.#isStopped && this.#working.size < this.#options.slots) {
      const item = this.#waiting.shift();
      if (item === undefined) return;
      void this.#work(item);
    }
  }

  async #work(item: Item): Promise<void> {
    this.#working.add(item);
    try {
      await this.#options.work(item);
    } finally {
      this.#working.delete(item);
      this.#fill();
      if (this.#working.size === 0) for (const wake of this.#idleWaiters.splice(0)) wake();
    }
  }
}
