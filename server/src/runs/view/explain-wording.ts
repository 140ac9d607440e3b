// Words the reason for a wait: code, sentence and what to do. Pure.
import type { Wait, WaitCode } from '@opsconductor/protocol';
import type { LockHolderRow, SegmentAgentsRow, WaitingRow } from '../../store/queue/waiting/waiting-steps.ts';
import type { RunRecord } from '../../store/runs/runs.ts';

export interface Why {
  code: WaitCode;
  message: string;
  advice?: string | null;
  since?: Date | null;
  until?: Date | null;
  runs?: Wait['runs'];
}

/** States in which agents can't be given steps, the one nearest to being able first. */
const unable = ['busy', 'draining', 'no_segment_key', 'starting', 'silent', 'offline', 'disabled'] as const;
const unableCodes: Record<(typeof unable)[number], WaitCode> = {
  busy: 'agents_busy',
  draining: 'agents_draining',
  no_segment_key: 'no_segment_key',
  starting: 'agents_starting',
  silent: 'agents_silent',
  offline: 'agents_offline',
  disabled: 'agents_disabled',
};
const unableWords: Record<(typeof unable)[number], string> = {
  busy: 'busy',
  draining: 'draining',
  no_segment_key: 'without the segment key',
  starting: 'connecting',
  silent: 'silent',
  offline: 'offline',
  disabled: 'disabled or in quarantine',
};
const unableAdvice: Record<(typeof unable)[number], string | null> = {
  busy: 'The agent’s page says whether its memory, the load of its machine or its disk is why; steps start once that is over.',
  draining: 'End the draining of an agent, or add another.',
  no_segment_key:
    'An agent that holds the segment key passes it on once both are connected. If all that held it are lost and there is no recovery key, revoke them: a connected agent makes a new key, and every credential of the segment has to be entered again.',
  starting: null,
  silent:
    'Check the agent’s host and its network. If it stays silent, the agent is given up; it takes steps again once it is back.',
  offline: 'Start an agent of the segment, or find out why it can’t connect.',
  disabled: 'Enable an agent of the segment, or add another.',
};

/**
 * Agents of one state with regard to certain steps. `unfit` agents could be given steps, but can't do what these need.
 */
export type AgentGroup = Omit<SegmentAgentsRow, 'state'> & { state: SegmentAgentsRow['state'] | 'unfit' };

/** For ready steps, which any agent of their segment might take. */
export function whyReady(row: WaitingRow, agents: readonly AgentGroup[], isBehind: boolean): Why {
  const where = `segment “${row.segmentName}”`;
  const able = agents.find((group) => group.state === 'able');
  if (able === undefined) {
    if (!row.segmentSeen) return noAbleAgent(where);
    const unfit = agents.find((group) => group.state === 'unfit');
    return unfit === undefined ? whyUnable(where, agents) : whyUnfit(where, row, unfit);
  }
  if (able.freeSlots > 0) {
    return {
      code: 'starts_now',
      message: `An agent in ${where} has a free slot, and is about to be given a step.`,
    };
  }
  const busy = row.segmentSeen ? ` (${able.slots} of ${able.slots})` : '';
  if (isBehind) {
    return {
      code: 'behind_priority',
      message: `All slots in ${where} are busy${busy}, and runs of a higher priority go first.`,
    };
  }
  return {
    code: 'no_free_slot',
    message: `All slots in ${where} are busy${busy}: the next that is free is shared out among the runs that wait.`,
    advice: 'Wait, or add an agent to the segment.',
  };
}

function whyUnfit(where: string, { needs }: WaitingRow, { agents, capabilities }: AgentGroup): Why {
  const missing = (needs ?? []).filter((need) => agents > 1 || !capabilities?.includes(need));
  return {
    code: 'no_capable_agent',
    message: `No agent in ${where} that is connected can ${missing.map(needInWords).join(', ')}.`,
    advice: `Upgrade ${agents === 1 ? 'the agent' : 'the agents'} of the segment.`,
  };
}

const needWords: Record<string, string> = {
  username_setting: 'log in as another user than the credential’s own',
  survive_agent_restart: 'keep a command running without an agent',
  step_limits: 'limit what a command uses',
  render: 'fill in the values of steps',
  conditions: 'look at the conditions of steps',
  outputs: 'hand on what a step finds',
  bash: 'run commands with bash',
  interpreters: 'send input to commands, and run them with interpreters other than a shell',
  become: 'become another user on the target',
  become_transfers: 'transfer files as another user on the target',
  run_as: 'run commands on Windows as the system',
  detect_secrets: 'mask secrets that they know by their form alone',
  winrm_options: 'send input to commands on Windows, limit them, or run them as another user',
  ssh_settings: 'use jump hosts and apply algorithm policies',
};

/** Returns a capability in words that fit after “can”. A capability without words here is a step type. */
function needInWords(need: string): string {
  if (need.startsWith('agent:'))
    return `be agent ${need.slice('agent:'.length)}, the only one that the run was signed for`;
  return needWords[need] ?? `run ${need}`;
}

function noAbleAgent(where: string): Why {
  return {
    code: 'no_able_agent',
    message: `No agent in ${where} can be given steps now.`,
    advice: 'Ask the people who look after the segment.',
  };
}

function whyUnable(where: string, agents: readonly AgentGroup[]): Why {
  const groups = unable.flatMap((state) =>
    agents.filter((group) => group.state === state).map((group) => ({ ...group, state })),
  );
  const [nearest] = groups;
  if (nearest === undefined) {
    return {
      code: 'no_agent',
      message: `There is no agent in ${where}.`,
      advice: 'Enroll an agent in the segment.',
    };
  }
  const total = groups.reduce((sum, group) => sum + group.agents, 0);
  const kinds = groups.map(({ state, agents }) => `${total === 1 ? '' : `${agents} `}${unableWords[state]}`);
  return {
    code: unableCodes[nearest.state],
    message:
      total === 1
        ? `The only agent in ${where} is ${kinds.join('')}.`
        : `None of the ${total} agents in ${where} can be given steps: ${kinds.join(', ')}.`,
    advice:
      nearest.state === 'offline' && groups.length > 1
        ? 'Start or enable an agent of the segment, or find out why it can’t connect.'
        : unableAdvice[nearest.state],
    since: groups.length === 1 ? nearest.since : null,
  };
}

export function whyLock(row: WaitingRow, holders: readonly LockHolderRow[], runId: number): Why {
  const per = { installation: '', segment: ` of segment “${row.segmentName}”`, target: ' of the target' };
  const lock = `Lock “${row.lockName}”${per[row.lockScope]}`;
  if (holders.length === 0) {
    return { code: 'lock', message: `${lock} is free now, and goes to those who wait for it in turn.` };
  }
  const named = holders.flatMap((holder) => (holder.runId === null ? [] : [holder.runId]));
  const others = named.filter((id) => id !== runId);
  const parts = [
    ...(named.includes(runId) ? ['other targets of this run'] : []),
    ...(others.length === 1 ? [`run ${others[0]}`] : []),
    ...(others.length > 1 ? [`${others.length} runs`] : []),
    ...(named.length < holders.length ? ['a run that you may not see'] : []),
  ];
  const taken = holders.flatMap(({ takenAt }) => (takenAt === null ? [] : [takenAt.getTime()]));
  return {
    code: 'lock',
    message: `${lock} is held by ${parts.join(' and ')}.`,
    since: named.length < holders.length || taken.length === 0 ? null : new Date(Math.min(...taken)),
    runs: others,
  };
}

/** @param run `undefined` for readers who see only part of it, since the numbers would tell about the rest. */
export function whyUnopened(run: RunRecord | undefined): Why {
  const { strategy, targetsOpened, batchNumber, batchEnd } = run ?? {};
  if (run === undefined || strategy === undefined || strategy === null) {
    return { code: 'strategy', message: 'The run’s strategy lets its targets begin bit by bit.' };
  }
  const ended =
    run.targetsSucceeded +
    run.targetsFailed +
    run.targetsCancelled +
    run.targetsTimedOut +
    run.targetsUnknown;
  const held = whyHeldCount(run.targetsHeld);
  if (batchEnd !== null && batchEnd !== undefined && (targetsOpened ?? 0) >= batchEnd) {
    const left = batchEnd - ended;
    return {
      code: 'batch',
      message: `Batch ${batchNumber} is open: the next begins when ${left === 1 ? 'one more target has' : `${left} more targets have`} ended.${held.sentence}`,
      advice: held.advice,
    };
  }
  const most = strategy.maxParallel;
  return {
    code: 'max_parallel',
    message: `${most === 1 ? 'One target runs' : `${most} targets run`} at a time (max_parallel): the next begins when one ends.${held.sentence}`,
    advice: held.advice,
  };
}

/** Targets that wait for a decision keep their places in the strategy (ADR 0052). */
function whyHeldCount(held: number): { sentence: string; advice: string | null } {
  if (held === 0) return { sentence: '', advice: null };
  return {
    sentence: ` ${held === 1 ? 'One that waits for a decision counts' : `${held} that wait for a decision count`} as running.`,
    advice: 'Decide what became of them: until then nobody knows what state they are in.',
  };
}

/** For steps that an agent has, and for those that continue by themselves or by a person's decision. */
export function whyWithAgent({ kind, agentName, since, until }: WaitingRow): Why {
  const agent = `Agent “${agentName}”`;
  switch (kind) {
    case 'decision':
      return {
        code: 'decision',
        message:
          'What happened on the host isn’t known. The step waits for a decision; without one it ends unknown.',
        advice: 'Check the target, then decide.',
        since,
        until,
      };
    case 'retry':
      return { code: 'retry', message: 'The step failed and is tried again.', until };
    case 'stopping':
      return {
        code: 'stopping',
        message: `${agent} was told to stop the step, and has not confirmed it yet.`,
        since,
      };
    case 'agent_unheard':
      return {
        code: 'agent_unheard',
        message: `${agent} has the step, but has lost contact with the server. If it isn’t back in time, the step is given up.`,
        advice: 'Check the agent’s host and its network.',
        since,
        until,
      };
    case 'target_silent':
      return {
        code: 'target_silent',
        message: `The host does not answer ${agent[0]?.toLowerCase()}${agent.slice(1)}. The command may be going on there. The agent keeps asking, and reads on where it was once the host answers; if it does not in time, the step ends unknown.`,
        advice: 'Look at the host’s console and the network to it, or cancel the host.',
        since,
        until,
      };
    default:
      return { code: 'leased', message: `${agent} was given the step, and has not started it yet.`, since };
  }
}
