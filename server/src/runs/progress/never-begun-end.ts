// The end of an attempt that was given up, of which it turns out that its agent never began it.
import type { AttemptEnd } from './attempt-end.ts';
import type { HeldLease } from './given-up-end.ts';

/**
 * A late result for an attempt whose lease never reached the agent, or was not begun there.
 *
 * @param lease with the agent's current session
 */
export function neverBegunEnd({ agentId, sessionNumber, ...attempt }: HeldLease): AttemptEnd {
  return {
    ...attempt,
    source: {
      kind: 'agent',
      agentId,
      sessionNumber,
      requestId: `never-begun-${sessionNumber}`,
      wantsNext: false,
    },
    outcome: {
      status: 'failed',
      reason: 'lease_expired',
      message: 'The agent was cut off before it began the step: nothing was done on the target.',
      advice: 'Run it again.',
    },
    output: { state: 'complete', digest: null, gaps: [] },
  };
}
