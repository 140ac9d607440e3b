// Marks a database that was set back, by restoring a backup or by a standby that was behind. What happened since is
// lost, but it did happen: so nothing that was open then continues, and no number given out since is given out again.
import type { StepOutcome } from '@opsconductor/protocol';
import { recordAudit } from '../audit/record-audit.ts';
import { stopRun } from '../runs/ends/stop-run.ts';
import { RunLedger } from '../runs/progress/run-ledger.ts';
import type { Sql } from '../store/database/connection.ts';
import { inTransaction } from '../store/database/transaction.ts';
import {
  admitNewerGenerations,
  doubtSilence,
  type EndedAccess,
  endAccess,
  endSessions,
  openRunIds,
  raiseRosterNumbers,
  raiseTimeline,
  skipNumbers,
} from '../store/installation/restore.ts';

/** What was done, besides how many sessions, sign-in codes and enrollment tokens were ended. */
export interface MarkedRestore extends EndedAccess {
  timeline: number;
  /** Runs that were open, and how many of their steps an agent had. */
  runs: number;
  attempts: number;
  agents: number;
}

const runMessage =
  'The database was restored to a state in which this run was open: what it did after that is not known.';
const outcome: StepOutcome = {
  status: 'unknown',
  reason: 'database_restored',
  message: 'The database was restored to a state in which an agent had this step: how it ended is not known.',
  advice:
    'Look on the target before you run it again. If its agent still knows how it ended, that is added here.',
};

/**
 * Does all of it or nothing. No server may be running. `now` must be later than at any earlier call, whichever copy is
 * restored.
 */
export async function markRestored(sql: Sql, now = new Date()): Promise<MarkedRestore> {
  return inTransaction(sql, async (tx) => {
    const timeline = await raiseTimeline(tx);
    await skipNumbers(tx, now);
    await raiseRosterNumbers(tx, now);
    await endSessions(tx);
    const access = await endAccess(tx);
    const agents = await admitNewerGenerations(tx);
    const runIds = await openRunIds(tx);
    const ledger = await RunLedger.open(tx, { runIds });
    let attempts = 0;
    for (const runId of runIds) {
      // So that nothing is retried, held or handed on.
      ledger.requestCancel(runId);
      ledger.setError(runId, runMessage);
      await stopRun(tx, ledger, runId, () => {
        attempts += 1;
        return outcome;
      });
    }
    await ledger.write();
    await doubtSilence(tx, timeline);
    const marked = { timeline, runs: runIds.length, attempts, agents, ...access };
    await recordAudit(tx, {
      actor: { kind: 'system', name: 'restored' },
      action: 'installation.restored',
      detail: { ...marked },
    });
    return marked;
  });
}
