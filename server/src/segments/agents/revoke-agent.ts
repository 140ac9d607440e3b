// Revokes an agent permanently. It leaves the roster, and a new generation of the segment key is requested, so that the
// key it has opens nothing that is sealed from then on. It may have kept what was sealed before, which therefore has to
// be rotated.
import type { AgentDetail } from '@opsconductor/protocol';
import type { Caller } from '../../caller.ts';
import { shutOutAgent } from '../../store/agents/agent-lifecycle.ts';
import { readAgentMore } from '../../store/agents/agent-overviews.ts';
import { hasWrap } from '../../store/agents/segment-key-wraps.ts';
import { wantKeyRotation } from '../../store/agents/segments.ts';
import { publishRoster } from '../publish-roster.ts';
import { changeAgent } from './change-agent.ts';
import type { AgentDeps } from './disable-agent.ts';

/**
 * Revokes an agent. A connected agent of the segment, or the next one that connects or enrolls, makes the next
 * generation; until then nothing can be sealed to the segment.
 *
 * If the owner holds the segment's root, it is the owner who removes the agent from the roster and names the new
 * generation.
 *
 * @throws {AppError} like `changeAgent`.
 */
export function revokeAgent(deps: AgentDeps, id: number, caller: Caller): Promise<AgentDetail> {
  const { sql, masterKey, installationId } = deps;
  return changeAgent(sql, id, caller, async (tx, agent, segment) => {
    if (agent.state === 'revoked') return { action: undefined };
    const { remainingAgents, credentials } = await readAgentMore(tx, id);
    await shutOutAgent(tx, id, 'revoked');
    // An agent for which nobody has wrapped the newest generation can't open anything that is sealed to it.
    const rotates = segment.keyGeneration > 0 && (await hasWrap(tx, id, segment.keyGeneration));
    if (rotates) await wantKeyRotation(tx, segment.id);
    await publishRoster(tx, { segment, installationId, masterKey });
    return {
      action: 'agent.revoked',
      detail: { remainingAgents, credentialsToRotate: credentials, newKeyGeneration: rotates },
    };
  });
}
