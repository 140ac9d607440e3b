// A claim that is part of a transaction of somebody else: what a new run makes ready is leased by the commit that makes
// it so, where this server has agents for it. It takes of that run alone, or, where others may wait for a slot, what is
// due, whosesoever it is.
import type { Tx } from '../../store/database/connection.ts';
import type { ProgressNews } from '../progress/run-ledger.ts';

/** `claimRank`: its priority negated. */
export interface StartedRun {
  jobRunId: number;
  claimRank: number;
  segmentIds: readonly number[];
}

export interface ClaimAlong {
  /** Sends the claim; to be called once the run's steps are ready in the transaction, just before its commit. */
  claim(tx: Tx, run: StartedRun): Promise<void>;
  /** The transaction has ended: what was claimed goes to its agents. To be called once, whatever happened. */
  over(committed: boolean): void;
}

export interface ClaimsAlong {
  /**
   * Undefined where a claim of its own is to follow: no agent of these segments is here, or one is in flight. Otherwise
   * no other claim is made until it is over, and these news, which the transaction notifies, are known here.
   */
  claimAlong(news: ProgressNews): ClaimAlong | undefined;
}
