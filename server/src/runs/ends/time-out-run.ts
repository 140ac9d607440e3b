// Stops a run that is past its own timeout in the same way as a cancel: what waits ends at once, what runs is told to
// stop.
import { isRunEnded } from '@opsconductor/protocol';
import type { Sql } from '../../store/database/connection.ts';
import { inTransaction } from '../../store/database/transaction.ts';
import { markTimedOut } from '../../store/queue/strategy-steps.ts';
import { type ProgressNews, RunLedger } from '../progress/run-ledger.ts';
import { runTimeoutMessage } from '../progress/settle-attempts.ts';
import { stopWaiting } from './stop-run.ts';

/** Stops the run, unless it has ended or is being stopped already. */
export async function timeOutRun(sql: Sql, runId: number): Promise<ProgressNews> {
  return inTransaction(sql, async (tx) => {
    const ledger = await RunLedger.open(tx, { runIds: [runId] });
    const run = ledger.run(runId);
    // If someone cancelled it before, it ends as cancelled.
    if (run === undefined || isRunEnded(run.status) || run.status === 'cancelling') return ledger.write();
    run.stopReason = 'run_timeout';
    await markTimedOut(tx, runId);
    ledger.setError(runId, runTimeoutMessage(run));
    ledger.requestCancel(runId);
    await stopWaiting(tx, ledger, runId, 'timed_out');
    return ledger.write();
  });
}
