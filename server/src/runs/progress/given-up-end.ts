// The end of an attempt that the server gives up, because its agent will not report one.
import type { StepOutcome } from '@opsconductor/protocol';
import type { AttemptEnd } from './attempt-end.ts';

/** A lease, with the session that has it. */
export interface HeldLease {
  stepId: number;
  epoch: number;
  leaseToken: string;
  agentId: number;
  sessionNumber: number;
}

/**
 * Settled only while this session still has the attempt: another agent may have taken it over under the same lease.
 * Output that the agent has kept may come later; until then the end of it is missing.
 */
export function givenUpEnd(
  { stepId, epoch, leaseToken, agentId, sessionNumber }: HeldLease,
  outcome: StepOutcome,
): AttemptEnd {
  return {
    stepId,
    epoch,
    leaseToken,
    source: { kind: 'server', heldBy: { agentId, sessionNumber } },
    outcome,
    output: { state: 'gapped', digest: null, gaps: [] },
  };
}
