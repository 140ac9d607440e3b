// Announces steps to their agents while the transaction that leases them is still on its way to disk (ADR 0085).
import { maxPreparedSteps } from '@opsconductor/protocol';
import type { ClaimedStep } from '../../store/queue/claims.ts';
import type { AgentLink } from '../link/agent-link.ts';

/**
 * Lets agents prepare shells for steps that a transaction has leased but not committed. When many steps start at once, the
 * agents are too busy for it to help, and nothing is sent.
 */
export function announceSteps(
  steps: readonly ClaimedStep[],
  linkOf: (agentId: number) => Pick<AgentLink, 'sessionNumber' | 'prepare'> | undefined,
): void {
  if (steps.length > maxPreparedSteps) return;
  for (const { id, epoch, agentId, sessionNumber, stepType, details } of steps) {
    const target = details?.targetId;
    const link = linkOf(agentId);
    if (stepType !== 'ssh.exec' || target == null || link?.sessionNumber !== sessionNumber) continue;
    link.prepare([{ step: id, epoch, target }]);
  }
}
