// Batches work that costs the database as little for many items as for one: items that arrive while a batch is being
// worked on form the next batch.

interface Waiting<Item, Result> {
  item: Item;
  /** When it is begun at the latest if a batch is free, on the monotonic clock. */
  dueMs: number;
  resolve(result: Result): void;
  reject(error: unknown): void;
}

export interface BatchesOptions<Item, Result> {
  /** Does the work for all items. Returns a result for each, in the same order. */
  work(items: readonly Item[]): Promise<readonly Result[]>;
  /** Items in one batch, at most. */
  most: number;
  /** Batches that are worked on at the same time, at most. */
  atATime: number;
  /** Items needed to start a batch while others are being worked on; fewer wait until none is. 1 by default. */
  leastBeside?: number;
}

export class Batches<Item, Result> {
  readonly #options: BatchesOptions<Item, Result>;
  readonly #queue: Waiting<Item, Result>[] = [];
  #atWork = 0;
  #scheduled = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: BatchesOptions<Item, Result>) {
    this.#options = options;
  }

  /**
   * First come, first served. Rejects if the work fails for this item even on its own.
   *
   * @param gatherMs for an item that isn't urgent: how long it may wait for others to form a batch with, in ms.
   */
  do(item: Item, gatherMs = 0): Promise<Result> {
    return new Promise((resolve, reject) => {
      this.#queue.push({ item, dueMs: performance.now() + gatherMs, resolve, reject });
      if (gatherMs === 0) this.#pump();
      else this.#pumpWhenDue();
    });
  }

  #isDue(): boolean {
    const now = performance.now();
    return this.#queue.some(({ dueMs }) => dueMs <= now);
  }

  #pumpWhenDue(): void {
    clearTimeout(this.#timer);
    if (this.#queue.length === 0) return;
    const due = this.#queue.reduce((least, { dueMs }) => Math.min(least, dueMs), Number.POSITIVE_INFINITY);
    this.#timer = setTimeout(() => this.#pump(), Math.max(0, Math.ceil(due - performance.now())));
  }

  #pump(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    // Items that arrive in the same turn of the event loop go into one batch.
    setImmediate(() => {
      this.#scheduled = false;
      const { atATime, leastBeside = 1 } = this.#options;
      while (
        this.#queue.length >= (this.#atWork === 0 ? 1 : leastBeside) &&
        this.#atWork < atATime &&
        this.#isDue()
      ) {
        this.#atWork += 1;
        void this.#workOff(this.#queue.splice(0, this.#options.most)).finally(() => {
          this.#atWork -= 1;
          this.#pump();
        });
      }
      if (this.#atWork === 0) this.#pumpWhenDue();
    });
  }

  async #workOff(batch: readonly Waiting<Item, Result>[]): Promise<void> {
    try {
      const results = await this.#options.work(batch.map(({ item }) => item));
      if (results.length !== batch.length) throw new Error('not a result for each');
      for (const [index, { resolve }] of batch.entries()) resolve(results[index] as Result);
    } catch (error) {
      if (batch.length === 1) batch[0]?.reject(error);
      // One item that fails must not make the others fail.
      else for (const waiting of batch) await this.#workOff([waiting]);
    }
  }
}
