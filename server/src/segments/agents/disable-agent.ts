// A disabled agent can't connect until it is enabled. As it leaves, it hands back what it has not begun, which others
// take at once. What it has begun continues, and the results count when it is enabled again. Until then the usual rule
// applies: after the segment's `unknown_after`, its attempts are unknown.
import type { AgentDetail } from '@opsconductor/protocol';
import type { Caller } from '../../caller.ts';
import type { MasterKey } from '../../credentials/at-rest/master-key.ts';
import { AppError } from '../../errors.ts';
import { enableAgent as enableRow, shutOutAgent } from '../../store/agents/agent-lifecycle.ts';
import type { Sql } from '../../store/database/connection.ts';
import { publishRoster } from '../publish-roster.ts';
import { changeAgent, refuseRevoked } from './change-agent.ts';

export interface AgentDeps {
  sql: Sql;
  masterKey: MasterKey;
  installationId: string;
}

/** @throws {AppError} like `changeAgent`; `conflict` for an agent that is quarantined or revoked. */
export function disableAgent(
  { sql }: Pick<AgentDeps, 'sql'>,
  id: number,
  caller: Caller,
): Promise<AgentDetail> {
  return changeAgent(sql, id, caller, async (tx, agent) => {
    refuseRevoked(agent);
    refuseQuarantined(agent);
    if (agent.state === 'disabled') return { action: undefined };
    await shutOutAgent(tx, id, 'disabled');
    return { action: 'agent.disabled' };
  });
}

/**
 * Lets a disabled agent connect again; it tries every few minutes. If a roster left it out meanwhile, the next one
 * names it again.
 * @throws {AppError} like `changeAgent`; `conflict` for an agent that is quarantined or revoked.
 */
export function enableAgent(deps: AgentDeps, id: number, caller: Caller): Promise<AgentDetail> {
  const { sql, masterKey, installationId } = deps;
  return changeAgent(sql, id, caller, async (tx, agent, segment) => {
    refuseRevoked(agent);
    refuseQuarantined(agent);
    if (agent.state === 'active') return { action: undefined };
    await enableRow(tx, id);
    const named = segment.rosterPayload?.includes(`"agentId":${id},`) === true;
    if (!named) await publishRoster(tx, { segment, installationId, masterKey });
    return { action: 'agent.enabled' };
  });
}

function refuseQuarantined({ name, state }: { name: string; state: string }): void {
  if (state === 'quarantined') {
    throw new AppError(
      'conflict',
      `Agent ${name} is quarantined: a copy of it connected, and nobody can tell which of the two is the original. Revoke it and enroll its machine again.`,
    );
  }
}
