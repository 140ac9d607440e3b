// What agents of earlier versions would pass over without a word is not asked of them.
import type { AgentCapability, LeaseTarget, StepOutcome } from '@opsconductor/protocol';

export interface CapableAgent {
  name: string;
  can(capability: AgentCapability): boolean;
}

/** Why this agent must not be sent to the target, or undefined where it may. */
export function agentTooOld(
  agent: CapableAgent,
  target: Pick<LeaseTarget, 'name' | 'username'>,
): Required<Pick<StepOutcome, 'reason' | 'message' | 'advice'>> | undefined {
  if (target.username === undefined || agent.can('username_setting')) return undefined;
  return {
    reason: 'agent_too_old',
    message: `Agent ${agent.name} is of a version that logs in as the credential’s own user only; “${target.name}” is to be logged in to as “${target.username}”.`,
    advice:
      'Upgrade the agent, or take the user name out of the connection settings and use that user’s credential.',
  };
}
