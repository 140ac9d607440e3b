// Whether the database would take what a resume writes about a step that its agent goes on with.
import { adoptLeases } from '../../store/agents/agent-sessions.ts';
import type { Sql } from '../../store/database/connection.ts';
import { isRefused } from '../../store/database/refused-statement.ts';
import { inTransaction } from '../../store/database/transaction.ts';
import { forgetDetached, noteDetached } from '../../store/queue/attempts/detached-attempts.ts';

/** Tries it, and writes nothing. */
export async function isWritable(
  sql: Sql,
  held: { stepId: number; epoch: number; agentId: number; sessionNumber: number },
): Promise<boolean> {
  const written = new Error('written');
  const trying = inTransaction(sql, async (tx) => {
    await adoptLeases(tx, held.agentId, held.sessionNumber, [held.stepId]);
    await noteDetached(tx, [held]);
    await forgetDetached(tx, [held]);
    throw written;
  });
  return trying.catch((error) => {
    if (error !== written && !isRefused(error)) throw error;
    return error === written;
  });
}
