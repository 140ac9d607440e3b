// Gathers the completions of all agents while the previous batch commits, and settles them together.
import type { ProgressNews } from '../runs/run-ledger.ts';
import { type AttemptEnd, type SettleResult, settleAttempts } from '../runs/settle-attempts.ts';
import type { Sql } from '../store/database/connection.ts';
import type { ContactNotes } from '../targets/contact-notes.ts';

const maxBatch = 256;
/** While one batch waits for the database another is put together; a few completions are worth no transaction more. */
const maxInFlight = 2;
const minSecondBatch = 64;

interface Waiting {
  end: AttemptEnd;
  resolve(result: SettleResult): void;
  reject(error: unknown): void;
}

export class Settler {
  readonly #sql: Sql;
  readonly #onNews: (news: ProgressNews) => void;
  readonly #contacts: Pick<ContactNotes, 'note'> | undefined;
  readonly #queue: Waiting[] = [];
  #inFlight = 0;
  #scheduled = false;

  constructor(sql: Sql, onNews: (news: ProgressNews) => void, contacts?: Pick<ContactNotes, 'note'>) {
    this.#sql = sql;
    this.#onNews = onNews;
    this.#contacts = contacts;
  }

  /** Resolves once the attempt's end has committed; rejects when the database refused the whole batch. */
  settle(end: AttemptEnd): Promise<SettleResult> {
    return new Promise((resolve, reject) => {
      this.#queue.push({ end, resolve, reject });
      this.#pump();
    });
  }

  #pump(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    // A turn of the event loop lets completions that arrived together share a transaction.
    setImmediate(() => {
      this.#scheduled = false;
      while (
        this.#queue.length >= (this.#inFlight === 0 ? 1 : minSecondBatch) &&
        this.#inFlight < maxInFlight
      ) {
        this.#inFlight += 1;
        void this.#settleBatch(this.#queue.splice(0, maxBatch)).finally(() => {
          this.#inFlight -= 1;
          this.#pump();
        });
      }
    });
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
        else {
          if (result.result === 'settled') this.#contacts?.note(waiting.end.stepId, waiting.end.outcome);
          waiting.resolve(result);
        }
      }
    } catch (error) {
      if (batch.length === 1) batch[0]?.reject(error);
      // One bad completion must not fail the others: settle them one by one.
      else for (const waiting of batch) await this.#settleBatch([waiting]);
    }
  }
}
