// Shuts out agents that may no longer be connected: revoked, disabled, or copied.
import { closeCodes } from '@opsconductor/protocol';
import type { Log } from '../../log.ts';
import { type ShutOut, shutOutAmong } from '../../store/agents/agent-lifecycle.ts';
import type { Sql } from '../../store/database/connection.ts';
import type { AgentLink } from '../link/agent-link.ts';

export function shutOut(link: AgentLink, how: ShutOut | 'quarantined'): void {
  if (how === 'quarantined') link.close(closeCodes.quarantined, 'a copy of this agent has connected');
  else link.shutOut(closeCodes.unauthenticated, `agent is ${how}`);
}

/**
 * Shuts out those of the links that may not be connected, in case the notice of it was missed. Returns the links it
 * shut out. Never rejects.
 */
export async function shutOutOfLinks(
  { sql, log }: { sql: Sql; log: Log },
  links: readonly AgentLink[],
): Promise<Set<AgentLink>> {
  const out = new Set<AgentLink>();
  try {
    const rows = await shutOutAmong(
      sql,
      links.map(({ agentId }) => agentId),
    );
    const states = new Map(rows.map(({ id, state }) => [id, state]));
    for (const link of links) {
      const how = states.get(link.agentId);
      if (how === undefined) continue;
      out.add(link);
      shutOut(link, how);
    }
  } catch (error) {
    log.warn({ err: error }, 'could not check whether connected agents were disabled or revoked');
  }
  return out;
}
