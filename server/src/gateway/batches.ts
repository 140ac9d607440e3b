// Work that the database does for many as cheaply as for one: what is asked for while a batch is at work makes the next.

interface Waiting<Item, Result> {
  item: Item;
  resolve(result: Result): void;
  reject(error: unknown): void;
}

export interface BatchesOptions<Item, Result> {
  /** Does the work of all; a result for each, in the same order. */
  work(items: readonly Item[]): Promise<readonly Result[]>;
  /** Items of one batch. */
  most: number;
  /** Batches at work at a time. */
  atATime: number;
  /** Items that are worth a batch beside those at work; fewer wait until there is none. One unless told. */
  leastBeside?: number;
}

export class Batches<Item, Result> {
  readonly #options: BatchesOptions<Item, Result>;
  readonly #queue: Waiting<Item, Result>[] = [];
  #atWork = 0;
  #scheduled = false;

  constructor(options: BatchesOptions<Item, Result>) {
    this.#options = options;
  }

  /** First come, first served. Rejects where the work fails for this item alone, too. */
  do(item: Item): Promise<Result> {
    return new Promise((resolve, reject) => {
      this.#queue.push({ item, resolve, reject });
      this.#pump();
    });
  }

  #pump(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    // What arrived in the same turn of the event loop belongs together.
    setImmediate(() => {
      this.#scheduled = false;
      const { atATime, leastBeside = 1 } = this.#options;
      while (this.#queue.length >= (this.#atWork === 0 ? 1 : leastBeside) && this.#atWork < atATime) {
        this.#atWork += 1;
        void this.#workOff(this.#queue.splice(0, this.#options.most)).finally(() => {
          this.#atWork -= 1;
          this.#pump();
        });
      }
    });
  }

  async #workOff(batch: readonly Waiting<Item, Result>[]): Promise<void> {
    try {
      const results = await this.#options.work(batch.map(({ item }) => item));
      if (results.length !== batch.length) throw new Error('not a result for each');
      for (const [index, { resolve }] of batch.entries()) resolve(results[index] as Result);
    } catch (error) {
      if (batch.length === 1) batch[0]?.reject(error);
      // One that can't be done must not fail the others.
      else for (const waiting of batch) await this.#workOff([waiting]);
    }
  }
}
