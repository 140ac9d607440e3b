import type { AgentDetail } from '@opsconductor/protocol';
import type { Caller } from '../../caller.ts';
import { AppError } from '../../errors.ts';
import { listKeyChanges, wantNewKeys as wantInRow } from '../../store/agents/agent-keys.ts';
import { notifySegmentChanged } from '../../store/agents/segments.ts';
import { changeAgent, refuseRevoked } from '../agents/change-agent.ts';
import type { AgentDeps } from '../agents/disable-agent.ts';

/**
 * Has an agent make new keys of its own: at once if it is connected, otherwise when it next connects.
 * @throws {AppError} like `changeAgent`; `conflict` for an agent that is quarantined or revoked, or whose new keys wait
 * for a signature.
 */
export function wantNewKeys(
  { sql }: Pick<AgentDeps, 'sql'>,
  id: number,
  caller: Caller,
): Promise<AgentDetail> {
  return changeAgent(sql, id, caller, async (tx, agent, segment) => {
    refuseRevoked(agent);
    if (agent.state === 'quarantined') {
      throw new AppError(
        'conflict',
        `A copy of agent ${agent.name} has its keys, and could make new ones. Revoke it and enroll its machine again.`,
      );
    }
    const changes = await listKeyChanges(tx, segment.id);
    if (changes.some(({ agentId }) => agentId === id)) {
      throw new AppError(
        'conflict',
        `New keys of agent ${agent.name} are already waiting: the owner of the segment’s root must sign a roster that names them.`,
      );
    }
    if (agent.newKeysWantedAt !== null) return { action: undefined };
    await wantInRow(tx, id);
    await notifySegmentChanged(tx, segment.id);
    return { action: 'agent.new_keys_wanted' };
  });
}
