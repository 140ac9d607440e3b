// Gathers the completions of all agents while the previous batch commits, and settles them together.
import type { ProgressNews } from '../runs/run-ledger.ts';
import { type AttemptEnd, type SettleResult, settleAttempts } from '../runs/settle-attempts.ts';
import type { Sql } from '../store/database/connection.ts';
import type { ContactNotes } from '../targets/contact-notes.ts';
import { Batches } from './batches.ts';

export class Settler {
  readonly #batches: Batches<AttemptEnd, SettleResult>;

  constructor(sql: Sql, onNews: (news: ProgressNews) => void, contacts?: Pick<ContactNotes, 'note'>) {
    this.#batches = new Batches({
      work: async (ends) => {
        const { results, news } = await settleAttempts(sql, ends);
        onNews(news);
        for (const [index, { stepId, outcome }] of ends.entries())
          if (results[index]?.result === 'settled') contacts?.note(stepId, outcome);
        return results;
      },
      most: 256,
      // While one batch waits for the database another is put together; a few completions are worth no transaction more.
      atATime: 2,
      leastBeside: 64,
    });
  }

  /** Resolves once the attempt's end has committed; rejects when the database refused it. */
  settle(end: AttemptEnd): Promise<SettleResult> {
    return this.#batches.do(end);
  }
}
