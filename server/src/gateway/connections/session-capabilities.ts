// The capabilities by which the session of an agent is matched with steps.
import type { AgentMessageOf } from '@opsconductor/protocol';
import { agentNeed } from '../../store/runs/run-grants.ts';

/**
 * Returns what the agent says it can do. If it runs only what is signed, this includes its own identity, since runs may
 * be signed for it alone. Adding that for all agents would make each a kind of its own, for which claims are made one
 * by one.
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
