// What agents of earlier versions would silently ignore, or refuse, must not be asked of them.
import type { AgentCapability, Lease, LeaseTarget, StepOutcome } from '@opsconductor/protocol';

export interface CapableAgent {
  name: string;
  can(capability: AgentCapability): boolean;
}

export interface TooOld {
  /** The capability that the agent lacks. */
  need: AgentCapability;
  outcome: Required<Pick<StepOutcome, 'reason' | 'message' | 'advice'>>;
}

/** Returns why this agent must not be sent to the target, or `undefined` if it may. */
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
      message: `Agent ${agent.name} is of a version that does not support jump hosts, algorithm policies or connection limits, which the connection settings of “${target.name}” ask for.`,
      advice: 'Upgrade the agent.',
    });
  }
  if (target.username === undefined || agent.can('username_setting')) return undefined;
  return tooOld('username_setting', {
    message: `Agent ${agent.name} is of a version that can only log in as the credential’s own user; the user name for “${target.name}” is set to “${target.username}”.`,
    advice:
      'Upgrade the agent, or take the user name out of the connection settings and use that user’s credential.',
  });
}

/**
 * Whether an agent can look for what another one has begun: it has to reach the target in the same way, and become the
 * same user. As another user it would see nothing, which would look as if nothing were there.
 */
export function canLookFor(
  agent: CapableAgent,
  { target, become }: { target: LeaseTarget; become?: unknown },
): boolean {
  return agentTooOld(agent, target) === undefined && (become === undefined || agent.can('become'));
}

/** Returns the lease in a form that this agent can read, or why it can't be given it. */
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
  // An agent that doesn't know a field does what the field's absence, or `false`, asks for, so such a field is left
  // out.
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
