// Gathers the completions of all agents while the previous batch commits, and settles them together.
import type { ProgressNews } from '../runs/run-ledger.ts';
import { type AttemptEnd, type SettleResult, settleAttempts } from '../runs/settle-attempts.ts';
import type { Sql } from '../store/connection.ts';

const maxBatch = 256;

interface Waiting {
  end: AttemptEnd;
  resolve(result: SettleResult): void;
  reject(error: unknown): void;
}

export class Settler {
  readonly #sql: Sql;
  readonly #onNews: (news: ProgressNews) => void;
  readonly #queue: Waiting[] = [];
  #busy = false;

  constructor(sql: Sql, onNews: (news: ProgressNews) => void) {
    this.#sql = sql;
    this.#onNews = onNews;
  }

  /** Resolves once the attempt's end has committed; rejects when the database refused the whole batch. */
  settle(end: AttemptEnd): Promise<SettleResult> {
    return new Promise((resolve, reject) => {
      this.#queue.push({ end, resolve, reject });
      void this.#pump();
    });
  }

  async #pump(): Promise<void> {
    if (this.#busy) return;
    this.#busy = true;
    // A turn of the event loop lets completions that arrived together share a transaction.
    await new Promise<void>((next) => setImmediate(next));
    while (this.#queue.length > 0) await this.#settleBatch(this.#queue.splice(0, maxBatch));
    this.#busy = false;
  }

  async #settleBatch(batch: readonly Waiting[]): Promise<void> {
    try {
      const { results, news } = await settleAttempts(
        this.#sql,
        batch.map((waiting) => waiting.end),
      );
      this.#onNews(news);
      for (const [index, waiting] of batch.entries()) {
        const result = results[index];
        if (result === undefined) waiting.reject(new Error('no result for a completion'));
        else waiting.resolve(result);
      }
    } catch (error) {
      if (batch.length === 1) batch[0]?.reject(error);
      // One bad completion must not fail the others: settle them one by one.
      else for (const waiting of batch) await this.#settleBatch([waiting]);
    }
  }
}
