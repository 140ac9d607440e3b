// Gathers the completions of all agents while the previous batch commits, and settles them together.

import type { AttemptEnd, SettleResult } from '../../runs/progress/attempt-end.ts';
import type { ProgressNews } from '../../runs/progress/run-ledger.ts';
import { settleAttempts } from '../../runs/progress/settle-attempts.ts';
import type { Sql } from '../../store/database/connection.ts';
import type { ClaimedStep } from '../../store/queue/claims/claims.ts';
import type { ContactNotes } from '../../targets/contact-notes.ts';
import { Batches } from '../batches.ts';

/** How long to wait for the end of the step before it, in ms: each time twice as long. */
const earlyMs = { first: 5, most: 1_000 };
/** How long an end that nobody waits for is gathered with others: a few short steps of a target run take as long. */
const gatherMs = 20;

export interface SettlerDeps {
  sql: Sql;
  onNews(news: ProgressNews): void;
  /** Notified of each attempt that was settled. */
  contacts?: Pick<ContactNotes, 'note'> | undefined;
  /** Called with next steps that are about to be leased, before that has committed. */
  onLeasing?: (steps: readonly ClaimedStep[]) => void;
}

export class Settler {
  readonly #batches: Batches<AttemptEnd, SettleResult>;
  /** Ends in a batch that failed: it may have committed all the same, with its answer lost. */
  readonly #unsure = new WeakSet<AttemptEnd>();
  readonly #onLeasing: SettlerDeps['onLeasing'];

  constructor({ sql, onNews, contacts, onLeasing }: SettlerDeps) {
    this.#onLeasing = onLeasing;
    this.#batches = new Batches({
      work: async (ends) => {
        const { results, news } = await this.#settle(sql, ends);
        onNews(news);
        for (const [index, { stepId, outcome }] of ends.entries())
          if (results[index]?.result === 'settled') contacts?.note(stepId, outcome);
        return results;
      },
      most: 256,
      // While one batch waits for the database, another is gathered; a few completions aren't worth another
      // transaction.
      atATime: 2,
      leastBeside: 64,
    });
  }

  /**
   * Resolves once the attempt's end has committed. Rejects if the database refused it, or if the answer was lost and
   * with it a step that may have been leased to the agent: then end the agent's connection, so that its resume shows
   * that it never got that step.
   *
   * An end that comes to the database before that of the step before it is settled after that: their batches overtook
   * each other, one was repeated, or another agent has that step.
   *
   * @param options.mayWait nobody waits for it, so it may be gathered with others for a moment.
   * @param options.isAwaited whether its agent still waits for an answer; if not, an end that comes early isn't settled.
   */
  async settle(
    end: AttemptEnd,
    { mayWait = false, isAwaited = () => true }: { mayWait?: boolean; isAwaited?: () => boolean } = {},
  ): Promise<SettleResult> {
    for (let waitMs = earlyMs.first; ; waitMs = Math.min(2 * waitMs, earlyMs.most)) {
      const settled = await this.#batches.do(end, mayWait ? gatherMs : 0);
      if (settled.result !== 'early' || end.source.kind !== 'agent' || !isAwaited()) return settled;
      await new Promise((resolve) => setTimeout(resolve, waitMs));
    }
  }

  async #settle(sql: Sql, ends: readonly AttemptEnd[]): ReturnType<typeof settleAttempts> {
    try {
      const settled = await settleAttempts(sql, ends, { onLeasing: this.#onLeasing });
      for (const [index, end] of ends.entries())
        if (this.#unsure.has(end) && settled.results[index]?.isRepeated === true && mayLease(end))
          throw new Error(
            'The answer of the database was lost, and with it the step that it may have leased',
          );
      return settled;
    } catch (error) {
      for (const end of ends) this.#unsure.add(end);
      throw error;
    }
  }
}

function mayLease({ source }: AttemptEnd): boolean {
  return source.kind === 'agent' && source.wantsNext;
}
