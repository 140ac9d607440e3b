// What agents of earlier versions would pass over without a word, or refuse, is not asked of them.
import type { AgentCapability, Lease, LeaseTarget, StepOutcome } from '@opsconductor/protocol';

export interface CapableAgent {
  name: string;
  can(capability: AgentCapability): boolean;
}

export interface TooOld {
  /** What the agent can't do. */
  need: AgentCapability;
  outcome: Required<Pick<StepOutcome, 'reason' | 'message' | 'advice'>>;
}

/** Why this agent must not be sent to the target, or undefined where it may. */
export function agentTooOld(
  agent: CapableAgent,
  target: Pick<LeaseTarget, 'name' | 'username' | 'winrm' | 'jumps' | 'algorithms' | 'maxConnections'>,
): TooOld | undefined {
  if (target.winrm !== undefined && !agent.can('winrm.exec')) {
    return tooOld('winrm.exec', {
      message: `Agent ${agent.name} is of a version that does not speak WinRM, by which “${target.name}” is reached.`,
      advice: 'Upgrade the agent.',
    });
  }
  const { jumps, algorithms, maxConnections } = target;
  const hasSshSettings = jumps !== undefined || algorithms !== undefined || maxConnections !== undefined;
  if (hasSshSettings && !agent.can('ssh_settings')) {
    return tooOld('ssh_settings', {
      message: `Agent ${agent.name} is of a version that knows no jump hosts, algorithm policies and bounds of connections, which the connection settings of “${target.name}” ask for.`,
      advice: 'Upgrade the agent.',
    });
  }
  if (target.username === undefined || agent.can('username_setting')) return undefined;
  return tooOld('username_setting', {
    message: `Agent ${agent.name} is of a version that logs in as the credential’s own user only; “${target.name}” is to be logged in to as “${target.username}”.`,
    advice:
      'Upgrade the agent, or take the user name out of the connection settings and use that user’s credential.',
  });
}

/**
 * Whether an agent looks for what another one has begun where that is: by the same way, and as whom it runs. As another user
 * it sees nothing, which would pass for nothing being there.
 */
export function canLookFor(
  agent: CapableAgent,
  { target, become }: { target: LeaseTarget; become?: unknown },
): boolean {
  return agentTooOld(agent, target) === undefined && (become === undefined || agent.can('become'));
}

/** The lease as this agent can read it, or why it can't be given it. */
export function leaseFor(agent: CapableAgent, lease: Lease): Lease | TooOld {
  const unfit = agentTooOld(agent, lease.target);
  if (unfit !== undefined) return unfit;
  const {
    survive_agent_restart: survives,
    limits,
    on_output_limit: onLimit,
    ...config
  } = Object(lease.config) as Record<string, unknown>;
  const hasLimits = limits !== undefined || onLimit === 'stop';
  if (hasLimits && !agent.can('step_limits')) {
    return tooOld('step_limits', {
      message: `The command was not started: agent ${agent.name} is of a version that can’t limit what it uses.`,
      advice: 'Upgrade the agent, or leave limits and on_output_limit out of the step.',
    });
  }
  if (survives === true && !agent.can('survive_agent_restart')) {
    return tooOld('survive_agent_restart', {
      message: `The command was not started: agent ${agent.name} is of a version that can’t keep it running without an agent.`,
      advice: 'Upgrade the agent, or set survive_agent_restart of the step to false.',
    });
  }
  // Without a field an agent that does not know it does what the field's absence, or `false`, asks for.
  const dropSurvives = survives !== undefined && !agent.can('survive_agent_restart');
  const dropOnLimit = onLimit !== undefined && !agent.can('step_limits');
  if (!dropSurvives && !dropOnLimit) return lease;
  return {
    ...lease,
    config: {
      ...config,
      ...(survives === undefined || dropSurvives ? {} : { survive_agent_restart: survives }),
      ...(limits === undefined ? {} : { limits }),
      ...(onLimit === undefined || dropOnLimit ? {} : { on_output_limit: onLimit }),
    },
  };
}

function tooOld(need: AgentCapability, words: Omit<TooOld['outcome'], 'reason'>): TooOld {
  return { need, outcome: { reason: 'agent_too_old', ...words } };
}
