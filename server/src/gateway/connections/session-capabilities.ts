// What the session of an agent is matched with steps by.
import type { AgentMessageOf } from '@opsconductor/protocol';
import { agentNeed } from '../../store/runs/run-grants.ts';

/**
 * What the agent says that it can do; and that it is itself, where runs may be signed for it alone. Of all agents that
 * would make each a kind of its own, which claims are made for one by one.
 */
export function capabilitiesOf(
  agentId: number,
  told: AgentMessageOf<'resume'>['capabilities'] = [],
): string[] {
  const own = agentNeed(agentId);
  const prefix = agentNeed(0).slice(0, -1);
  const others = told.filter((name) => !name.startsWith(prefix));
  return others.includes('signed_runs_only') ? [...others, own] : others;
}
