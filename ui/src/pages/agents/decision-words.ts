// What draining, disabling or revoking an agent does, to be shown before doing it.
import type { Agent, AgentClose, AgentDetail, Segment } from '@opsconductor/protocol';
import { closeCodes } from '@opsconductor/protocol';
import { longDuration } from '../../format/duration.ts';
import { counted, listed } from '../../format/quantity.ts';

export interface Outlook {
  agent: AgentDetail;
  segment: Pick<Segment, 'name' | 'unknownAfter' | 'root'>;
  /** All agents of the segment; may include this one. */
  agents: readonly Pick<Agent, 'id' | 'name' | 'state'>[];
}

/** Each decision in paragraphs; the last one for a revocation is the one that must not be missed. */
export function drainWords(outlook: Outlook): string[] {
  const { agent } = outlook;
  const has = agent.slotsInUse;
  return [
    `${agent.name} takes nothing new${has === 0 ? '' : `, finishes the ${counted(has, 'step')} that it has`} and stays connected. That lasts through reconnects and restarts, until you undrain it.`,
    newStepsWords(outlook),
  ];
}

export function disableWords(outlook: Outlook): string[] {
  const { agent, segment } = outlook;
  const { begun, unbegun } = stepsOf(agent);
  const words = [`${agent.name} is disconnected and may not connect until you enable it.`];
  if (unbegun > 0) {
    words.push(
      `It hands back the ${counted(unbegun, 'step')} that it has not started, and others can take ${unbegun === 1 ? 'it' : 'them'} at once.`,
    );
  }
  if (begun > 0) {
    words.push(
      `${counted(begun, 'step that it has started keeps', 'steps that it has started keep')} running on the ${begun === 1 ? 'host' : 'hosts'}. Enable it within ${longDuration(segment.unknownAfter * 1000)} and the results count; after that they are unknown, and what it reports later is only noted. To let them finish first, drain it instead.`,
    );
  }
  words.push(newStepsWords(outlook));
  return words;
}

export function newKeysWords({ agent, segment }: Outlook): string[] {
  const when =
    agent.state === 'connected' || agent.state === 'draining' ? 'at once' : 'when it next connects';
  return [
    `${agent.name} replaces its own keys ${when}, without a new enrollment. ${segment.root === 'owner_held' ? `The owner of ${segment.name} must sign them; until then it uses the ones it has.` : 'Its old ones can no longer connect.'} Its running steps continue.`,
    `If someone else may have its keys, revoke it instead: they can open everything sealed to ${segment.name} so far.`,
  ];
}

export function revokeWords(outlook: Outlook): string[] {
  const { agent, segment } = outlook;
  const { begun, unbegun } = stepsOf(agent);
  const words = [
    `${agent.name} is disconnected and can never connect again. Its machine can be enrolled again, under the same name.`,
  ];
  if (unbegun > 0) words.push(`It hands back the ${counted(unbegun, 'step')} that it has not started.`);
  if (begun > 0) {
    words.push(
      `${counted(begun, 'step that it has started becomes', 'steps that it has started become')} unknown at once: nobody can report on ${begun === 1 ? 'it' : 'them'} any more. To let them finish first, drain it, then revoke it.`,
    );
  }
  const hasKey = agent.keyGenerations.includes(agent.currentGeneration);
  if (hasKey) {
    const maker = connectedPeers(outlook)[0];
    words.push(
      `It has the key of ${segment.name}, so a new one is made: ${maker === undefined ? 'by the next agent that connects or enrolls. Until then nothing can be sealed to the segment' : `by ${maker}, at once`}.`,
    );
  }
  const { credentials } = agent.revocation;
  if (credentials > 0) {
    words.push(
      `It can open ${counted(credentials, 'credential')} and may have kept ${credentials === 1 ? 'it' : 'them'}: ${credentials === 1 ? 'it is' : 'they are'} marked for rotation. Change ${credentials === 1 ? 'that secret on its' : 'those secrets on their'} targets, then seal the new ${credentials === 1 ? 'one' : 'ones'}.`,
    );
  }
  return words;
}

/** Says that no agent remains in the segment; undefined if one does. */
export function lastAgentWords({ agent, segment }: Outlook): { lead: string; text: string } | undefined {
  if (agent.revocation.remainingAgents > 0) return undefined;
  const { credentials } = agent.revocation;
  const lost =
    credentials === 0
      ? ''
      : ` Nobody else has the key, so ${counted(credentials, 'credential')} can’t be opened any more and must be entered again.`;
  const done = agent.state === 'revoked';
  return {
    lead: done ? `It was the last agent of ${segment.name}.` : `It is the last agent of ${segment.name}.`,
    text: `Nothing can run there until another is enrolled.${lost}`,
  };
}

function newStepsWords(outlook: Outlook): string {
  const peers = connectedPeers(outlook);
  const { name } = outlook.segment;
  if (peers.length === 0) {
    return `No other agent of ${name} is connected: new steps wait, and runs that don’t start in time end timed out.`;
  }
  return `New steps of ${name} go to ${listed(peers)}.`;
}

function connectedPeers({ agent, agents }: Outlook): string[] {
  return agents.filter(({ id, state }) => id !== agent.id && state === 'connected').map(({ name }) => name);
}

function stepsOf(agent: AgentDetail): { begun: number; unbegun: number } {
  const unbegun = agent.steps.filter(({ startedAt }) => startedAt === null).length;
  return { begun: agent.slotsInUse - unbegun, unbegun };
}

/**
 * A connection was refused because its key had been replaced: it came from a copy of the agent, unless the agent itself
 * was cut off during the replacement.
 */
export function isOldKey({ code, reason }: Pick<AgentClose, 'code' | 'reason'>): boolean {
  return code === closeCodes.unauthenticated && reason === 'the key was replaced';
}

/** Explains how a connection ended and what to do about it. */
export function closeWords({ code, reason }: Pick<AgentClose, 'code' | 'reason'>): string {
  const said = reason === '' ? '' : ` (${reason})`;
  switch (code) {
    case closeCodes.invalidMessage:
      return `The server did not understand a message from it${said}. Give its machine this server’s agent.mjs and restart it.`;
    case closeCodes.noCommonVersion:
      return `It and the server have no protocol version in common${said}. Give its machine this server’s agent.mjs and restart it.`;
    case closeCodes.unauthenticated:
      if (isOldKey({ code, reason }))
        return 'Its previous key was used. If the agent was cut off while it replaced its keys and has connected since, it was the agent itself. Otherwise it was a copy of its data directory, which has the segment key too: find the copy, revoke this agent and enroll the machine again.';
      return `The server refused it${said}.`;
    case closeCodes.quarantined:
      return `A copy of its data directory connected${said}. Find and stop the copy, revoke this agent and enroll the machine again.`;
    case closeCodes.replaced:
      return 'It connected a second time, and the newer connection won. If that repeats, two processes use one identity.';
    case closeCodes.silent:
      return 'It was silent for too long: the network was cut, or its machine hung.';
    case closeCodes.policyRead:
      return 'It reconnected to report a policy that it has reloaded.';
    case closeCodes.serverRestart:
      return `The server restarted or asked it to reconnect${said}.`;
    case 1000:
      return 'It was shut down cleanly.';
    case 1006:
      return 'The connection broke without a closing message: suspect the network, a proxy in between, or the agent’s process.';
    default:
      return `Close code ${code}${said}.`;
  }
}
