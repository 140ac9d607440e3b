// What a person is asked about held steps, and what each answer does, in words.
import type { DecideRequest, Decision, HeldGroup, Step } from '@opsconductor/protocol';
import { counted } from '../../../format/quantity.ts';
import { reasonWord, statusWord } from '../../../format/status.ts';
import { attemptsOf } from '../attempts/attempt-numbers.ts';

/** In the order in which they are offered. */
export const answers: readonly Decision[] = ['succeeded', 'failed', 'retry', 'cancel'];

/** One question per step, agent and reason. */
export function groupKey({ stepNumber, agentName, reason }: HeldGroup): string {
  return JSON.stringify([stepNumber, agentName, reason]);
}

/** Text of the button. */
export function answerWords(decision: Decision, { stepNumber }: Pick<HeldGroup, 'stepNumber'>): string {
  switch (decision) {
    case 'succeeded':
      return 'It succeeded, continue…';
    case 'failed':
      return 'It failed…';
    case 'retry':
      return `Run step ${stepNumber} again…`;
    case 'cancel':
      return 'Give up…';
  }
}

/** What a person is about to do, for the title of the dialog and its button. */
export function decideWords(
  decision: Decision,
  { stepNumber, hosts }: { stepNumber: number; hosts: number },
): string {
  const where = `on ${counted(hosts, 'host')}`;
  switch (decision) {
    case 'succeeded':
      return `Count step ${stepNumber} as succeeded ${where}`;
    case 'failed':
      return `Count step ${stepNumber} as failed ${where}`;
    case 'retry':
      return `Run step ${stepNumber} again ${where}`;
    case 'cancel':
      return `Give up step ${stepNumber} ${where}`;
  }
}

/** What was decided about an attempt or a step. */
export const decidedWords: Record<Decision, string> = {
  succeeded: 'it counts as succeeded',
  failed: 'it counts as failed',
  retry: 'it is run again',
  cancel: 'it counts as cancelled',
};

/** `2 hosts are unknown. Decide what happened on them.` */
export function questionWords(hosts: number, mayDecide: boolean): string {
  const what = counted(hosts, 'host is', 'hosts are');
  const them = hosts === 1 ? 'it' : 'them';
  return mayDecide
    ? `${what} unknown. Decide what happened on ${them}.`
    : `${what} unknown. Someone has to decide what happened on ${them}.`;
}

/** Why the outcome is unknown: `Agent dmz-1-b went silent while step 3, apply, ran.` */
export function causeWords({ agentName, reason, stepNumber, stepName }: HeldGroup): string {
  const agent = agentName === null ? 'Its agent' : `Agent ${agentName}`;
  const step = `step ${stepNumber}, ${stepName}, ran`;
  switch (reason) {
    case 'agent_silent':
      return `${agent} went silent while ${step}.`;
    case 'agent_revoked':
      return `${agent} was revoked while ${step}.`;
    case 'agent_restarted':
      return `${agent} was restarted while ${step}.`;
    case 'connection_lost':
      return `${agent} lost the connection to the target while ${step}.`;
    default:
      return `${agent} was cut off while ${step}${reason === null ? '' : ` (${reasonWord(reason)})`}.`;
  }
}

/**
 * What ends the wait: `If neither happens by`. Only an agent that went silent may still report a result; in other cases
 * an agent has already reported that it doesn't know, or is gone.
 */
export function waitWords({ reason }: Pick<HeldGroup, 'reason'>): string {
  return reason === 'agent_silent'
    ? 'If the agent returns first, its result decides; if neither happens by'
    : 'If nobody decides by';
}

/** Maximum number of steps that a request may name. */
const maxNamed = 100;

/**
 * Returns the request: it names the steps if all of them were shown, otherwise what they have in common and how many
 * they were. The server refuses either if that no longer holds.
 */
export function decideRequest(
  group: HeldGroup,
  decision: Decision,
  note: string,
  only?: HeldGroup['steps'][number],
): DecideRequest {
  const named = only === undefined ? group.steps : [only];
  if (only !== undefined || (group.count <= maxNamed && group.steps.length === group.count)) {
    return { decision, note, steps: named.map(({ id, attempt }) => ({ id, attempt })) };
  }
  return {
    decision,
    note,
    stepNumber: group.stepNumber,
    expected: group.count,
    ...(group.agentName === null ? {} : { agentName: group.agentName }),
    ...(group.reason === null ? {} : { reason: group.reason }),
  };
}

/** What has become of steps that are no longer held: `dmz-web-09: succeeded, dmz-web-10: running again`. */
export function nowWords(steps: readonly { host: string; step: Step; attempt: number }[]): string {
  const shown = steps.slice(0, 5).map(({ host, step, attempt }) => {
    const again = step.attempt > attempt ? `, with attempt ${attemptsOf(step)}` : '';
    return `${host}: ${statusWord(step.status)}${again}`;
  });
  const rest = steps.length - shown.length;
  return `${shown.join('; ')}${rest > 0 ? ` and ${counted(rest, 'more host')}` : ''}`;
}
