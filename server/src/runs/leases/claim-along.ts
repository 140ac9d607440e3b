// A claim that is part of another transaction: if this server has agents for a new run, the commit that makes its steps
// ready also leases them. It claims only steps of that run, unless others may be waiting for a slot; then it claims
// whatever is due, of any run.
import type { Tx } from '../../store/database/connection.ts';
import type { NewRunToClaim } from '../../store/queue/claims/claims.ts';
import type { ProgressNews } from '../progress/run-ledger.ts';

export interface StartedRun extends NewRunToClaim {
  /** Whether its steps take locks. */
  hasLocks: boolean;
}

export interface ClaimAlong {
  /** Sends the claim. Call it once the run's steps are ready in the transaction, just before the commit. */
  claim(tx: Tx, run: StartedRun): Promise<void>;
  /**
   * Reports the end of the transaction, so that claimed steps go to their agents. Call it exactly once, whatever
   * happened.
   */
  over(committed: boolean): void;
}

export interface ClaimsAlong {
  /**
   * Returns `undefined` if the run has to be claimed separately, because no agent of these segments is connected here or
   * a claim is in flight. Otherwise no other claim is made until this one is over, and the news, which the transaction
   * will notify, counts as heard on this server.
   */
  claimAlong(news: ProgressNews): ClaimAlong | undefined;
}
