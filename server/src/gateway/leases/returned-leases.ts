// Handles leases that an agent hands back. Unbegun ones go to the next agent, except those that have begun after all and
// those that nobody can open any more. Commands that go on by themselves wait for an agent that takes them over.
import type { AgentMessageOf, StepOutcome } from '@opsconductor/protocol';
import { returnLeases } from '../../runs/leases/return-leases.ts';
import { givenUpEnd, type HeldLease } from '../../runs/progress/given-up-end.ts';
import type { ProgressNews } from '../../runs/progress/run-ledger.ts';
import { stepsWithLostKey } from '../../store/agents/segment-key-wraps.ts';
import type { Sql } from '../../store/database/connection.ts';
import { orphanAttempts } from '../../store/queue/attempts/detached-attempts.ts';
import type { AgentLink } from '../link/agent-link.ts';
import type { LeaseNotes } from './lease-notes.ts';
import type { Settler } from './settler.ts';

interface Deps {
  sql: Sql;
  settler: Pick<Settler, 'settle'>;
  notes: Pick<LeaseNotes, 'flush'>;
}

/**
 * Takes back what an agent returns: it becomes ready again, or ends if it can’t. Attempts that go on without their
 * agent stay as they are.
 * @returns what has changed, to be told
 */
export async function takeBackLeases(
  { sql, settler, notes }: Deps,
  link: AgentLink,
  message: AgentMessageOf<'return'>,
): Promise<ProgressNews[]> {
  const leases = message.attempts.map((attempt) => ({
    stepId: attempt.step,
    epoch: attempt.epoch,
    leaseToken: attempt.leaseToken,
    agentId: link.agentId,
    sessionNumber: link.sessionNumber,
  }));
  for (const lease of leases) link.forget(lease);
  await notes.flush();
  // Commands that have begun and go on by themselves must not be begun again, whatever the agent says about them.
  const orphaned = await orphanAttempts(sql, leases, { expected: true });
  if (message.reason === 'output_lost') {
    const untaken = leases.filter(({ stepId }) => !orphaned.has(stepId));
    await Promise.all(untaken.map((lease) => settler.settle(givenUpEnd(lease, notReadOn))));
    return [];
  }
  const lost =
    message.reason === 'no_key' ? await settleLostKeys({ sql, settler }, leases) : new Set<number>();
  const back = leases.filter(({ stepId }) => !lost.has(stepId) && !orphaned.has(stepId));
  return back.length === 0 ? [] : returnLeases(sql, back);
}

/** What became of a command that was begun and may not be taken over any more. */
const notReadOn: StepOutcome = {
  status: 'unknown',
  reason: 'supervisor_lost',
  message:
    'No agent could go on reading what the step’s command prints, however often another one tried: whether and how the command ended is not known.',
  advice:
    'Look on the target before you run it again: the command may still run there. The agents’ logs say why each gave it up.',
};

/**
 * Fails steps whose credential nobody can open any more: returned, they would be handed back forever. Returns them,
 * without those whose turn has not come: they go back, and fail when it has.
 */
async function settleLostKeys(
  { sql, settler }: Omit<Deps, 'notes'>,
  leases: readonly HeldLease[],
): Promise<Set<number>> {
  const rows = await stepsWithLostKey(
    sql,
    leases.map(({ stepId }) => stepId),
  );
  const lost = new Map(rows.map((row) => [row.stepId, row]));
  for (const lease of leases) {
    const row = lost.get(lease.stepId);
    if (row === undefined) continue;
    const { result } = await settler.settle({
      stepId: lease.stepId,
      epoch: lease.epoch,
      leaseToken: lease.leaseToken,
      source: {
        kind: 'server',
        heldBy: { agentId: lease.agentId, sessionNumber: lease.sessionNumber },
      },
      outcome: {
        status: 'failed',
        reason: 'credential_unusable',
        message: `Credential “${row.credentialName}” is sealed to generation ${row.generation} of the segment’s key, which no agent of the segment holds any more.`,
        advice: 'Change the secret on the targets and put the new one in the credential’s place.',
      },
      output: { state: 'complete', digest: null, gaps: [] },
    });
    // It was leased ahead of its turn, and the end of the step before it is still on its way.
    if (result === 'early') lost.delete(lease.stepId);
  }
  return new Set(lost.keys());
}
