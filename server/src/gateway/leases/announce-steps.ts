// Announces steps to their agents while the transaction that leases them is still on its way to disk (ADR 0085).
import { maxPreparedSteps, type ServerMessageOf } from '@opsconductor/protocol';
import type { ClaimedStep } from '../../store/queue/claims/claims.ts';
import type { AgentLink } from '../link/agent-link.ts';

type Link = Pick<AgentLink, 'sessionNumber' | 'prepare'>;

/**
 * Lets agents prepare shells for steps that a transaction has leased but not committed. When many steps start at once, the
 * agents are too busy for it to help, and nothing is sent.
 */
export function announceSteps(
  steps: readonly ClaimedStep[],
  linkOf: (agentId: number) => Link | undefined,
): void {
  if (steps.length > maxPreparedSteps) return;
  const announced = new Map<Link, ServerMessageOf<'prepare'>['steps']>();
  for (const { id, epoch, agentId, sessionNumber, stepType, details } of steps) {
    const target = details?.targetId;
    const link = linkOf(agentId);
    if (stepType !== 'ssh.exec' || target == null || link?.sessionNumber !== sessionNumber) continue;
    announced.set(link, [...(announced.get(link) ?? []), { step: id, epoch, target }]);
  }
  for (const [link, named] of announced) link.prepare(named);
}
