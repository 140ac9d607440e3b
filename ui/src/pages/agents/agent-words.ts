// Agents and segments in words: their health and what that causes.
import { type Agent, closeCodes, type Segment } from '@opsconductor/protocol';
import { longDuration } from '../../format/duration.ts';
import { byteSize, count, counted, listed } from '../../format/quantity.ts';
import { isKeyMissing } from './recovery-words.ts';

export interface Words {
  /** The status whose shape and color it gets. */
  look: string;
  word: string;
}

export function agentWords(agent: Agent, now: number): Words {
  const since = agent.since === null ? '' : ` for ${longDuration(now - Date.parse(agent.since))}`;
  switch (agent.state) {
    case 'connected':
      return agent.busyReason === null
        ? { look: 'succeeded', word: 'connected' }
        : { look: 'held', word: 'connected, busy' };
    case 'draining':
      // Nobody asked for it here: its process was told to stop.
      if (agent.drainRequestedAt === null)
        return {
          look: 'cancelling',
          word: `stopping, ${agent.slotsInUse === 0 ? 'takes nothing' : `${counted(agent.slotsInUse, 'step')} left`}`,
        };
      return agent.slotsInUse === 0
        ? { look: 'cancelled', word: 'drained, takes nothing' }
        : { look: 'cancelling', word: `draining, ${counted(agent.slotsInUse, 'step')} left` };
    case 'silent':
      return { look: 'unknown', word: `silent${since}` };
    case 'offline':
      if (hasNeverConnected(agent)) return { look: 'queued', word: 'never connected' };
      return { look: 'failed', word: `offline${since}` };
    case 'disabled':
      return { look: 'cancelled', word: 'disabled' };
    case 'quarantined':
      return { look: 'held', word: 'quarantined' };
    case 'revoked':
      return { look: 'skipped', word: 'revoked' };
  }
}

/** The agent is enrolled, but its program hasn't been started since or can't reach the server. */
export function hasNeverConnected({
  state,
  lastHeartbeatAt,
}: Pick<Agent, 'state' | 'lastHeartbeatAt'>): boolean {
  return state === 'offline' && lastHeartbeatAt === null;
}

/** `agents`: all of its agents that are not revoked. */
export function segmentWords(segment: Pick<Segment, 'health'>, agents: readonly Agent[]): Words {
  // A server of an earlier version says `no_agent` of it.
  if (agents.length > 0 && agents.every(isBarred)) return { look: 'failed', word: 'no agent enabled' };
  switch (segment.health) {
    case 'healthy':
      return { look: 'succeeded', word: 'healthy' };
    case 'degraded':
      return { look: 'partial', word: 'degraded' };
    case 'offline':
      return { look: 'failed', word: 'offline' };
    case 'no_agent':
      return { look: 'queued', word: 'no agent yet' };
  }
}

/** It gets nothing to do, whether it runs or not, until people change that. */
function isBarred({ state }: Pick<Agent, 'state'>): boolean {
  return state === 'disabled' || state === 'quarantined';
}

/** Such an agent reconnects within 5 minutes, so if it hasn't happened again for this long, it is over. */
const misunderstoodMs = 10 * 60_000;

/**
 * Returns whether the server recently closed the agent's connection because it couldn't understand the agent or they
 * have no common protocol version.
 */
export function isMisunderstood(agent: Pick<Agent, 'lastClose'>, now: number): boolean {
  const { lastClose } = agent;
  return (
    (lastClose?.code === closeCodes.invalidMessage || lastClose?.code === closeCodes.noCommonVersion) &&
    now - Date.parse(lastClose.at) < misunderstoodMs
  );
}

function whyBusy(reason: string): string {
  return reason === 'disk' ? 'its disk is full or refuses writes' : `its ${reason} is too high`;
}

/** The same for the agent's own page, with what happens next. */
export function busyNote(reason: string): string {
  return reason === 'disk'
    ? 'Its disk has too little room, or refuses what it must write before it starts a step: free up space where its data directory is, or make that directory writable. Its running steps continue, and it takes new ones automatically after that.'
    : `Its ${reason} is above the limit that it was started with. Its running steps continue, and it takes new ones automatically once that is lower.`;
}

/** What holds an agent back, and where it runs. */
export function agentDetail(agent: Agent): string {
  const parts: string[] = [];
  if (agent.state === 'quarantined') parts.push('an older copy of it connected');
  if (agent.busyReason !== null) parts.push(`takes nothing new: ${whyBusy(agent.busyReason)}`);
  // Figures from an agent that is away are outdated.
  const isLive = agent.state === 'connected' || agent.state === 'draining';
  if (isLive && agent.rssBytes !== null) parts.push(byteSize(agent.rssBytes));
  if (isLive && agent.loadAverage !== null) parts.push(`load ${agent.loadAverage.toFixed(2)}`);
  if (agent.spoolBytes !== null && agent.spoolBytes > 0) parts.push(`spool ${byteSize(agent.spoolBytes)}`);
  if (!agent.hasSegmentKey && agent.state !== 'revoked') parts.push('has no segment key yet');
  if (agent.address !== null) parts.push(agent.address);
  else if (agent.hostname !== null) parts.push(agent.hostname);
  return parts.join(', ');
}

export interface Consequence {
  look: string;
  lead: string;
  text: string;
  /** The command to run; if not on the agent's machine, the text says where. */
  command?: string;
  /** What to do in each case, when only people know which one applies. */
  ways?: { lead: string; text: string; command?: string }[];
}

/**
 * Returns what the state of a segment means for its runs and what to do, the worst first; empty if all is well.
 * `server`: its address, for commands.
 */
export function consequencesOf(
  segment: Segment,
  agents: readonly Agent[],
  now: number,
  server = 'URL',
): Consequence[] {
  const worst = worstOf(segment, agents);
  const misunderstood = agents.filter((agent) => isMisunderstood(agent, now)).map(misunderstoodWords);
  return [
    ...(worst === undefined ? [] : [worst]),
    ...misunderstood,
    ...lostRosterOf(segment, agents, server),
    ...toSignOf(segment, server),
    ...missingKeyOf(segment, agents),
    ...rotationsOf(segment, agents),
  ];
}

/**
 * Agents refuse rosters older than the newest that they have seen: the segment takes no new agents, and nobody new gets
 * its key. But this is only what an agent reports, and one on a compromised machine must not be able to make people
 * stop their servers.
 */
function lostRosterOf(
  { name, root, lostRoster }: Segment,
  agents: readonly Agent[],
  server: string,
): Consequence[] {
  if (lostRoster === null || lostRoster === undefined) return [];
  const claims = listed(
    lostRoster.agents.map(({ name: agent, rosterNumber }) => `${agent} names roster ${rosterNumber}`),
  );
  const others = agents.filter(
    (agent) => agent.state === 'connected' && !lostRoster.agents.some((one) => one.name === agent.name),
  );
  const one = lostRoster.agents.length === 1;
  const against =
    others.length === 0
      ? ''
      : ` ${listed(others.map(({ name: agent }) => agent))} ${others.length === 1 ? 'doesn’t' : 'don’t'} report this.`;
  const restored = {
    lead: 'If a backup was restored',
    text:
      root === 'managed'
        ? '(then usually more than one agent reports it): stop every server, run npm run restored, and start them again.'
        : '(then usually more than one agent reports it): sign the next roster on the machine where the owner signed that one, with --remove for each agent that it names and the server no longer knows:',
    ...(root === 'managed'
      ? {}
      : {
          command: `node scripts/opsconductor.mjs segment roster sign ${name} --key ROOT-KEY --server ${server}`,
        }),
  };
  const otherwise = {
    lead: 'If none was restored,',
    text: `leave the servers alone: inspect the ${one ? 'machine of that agent' : 'machines of those agents'}, and revoke ${one ? 'it' : 'them'} if you can’t find the reason.`,
  };
  return [
    {
      look: 'held',
      lead: one
        ? 'An agent reports that it has seen a newer roster.'
        : `${count(lostRoster.agents.length)} agents report that they have seen a newer roster.`,
      text: `${claims}, which the server does not have. If that is true, the agent refuses older ones and gives no new agent the segment key; running steps continue.${against}`,
      ways: [restored, otherwise],
    },
  ];
}

/** What waits to be signed by the owner of a root key that the server doesn't have. */
function toSignOf({ name, toSign }: Segment, server: string): Consequence[] {
  if (toSign === null) return [];
  const { admit, remove, rekey = [], newKey } = toSign;
  const waits = [
    ...(admit.length === 0 ? [] : [`${admit.join(', ')} to be admitted`]),
    ...(remove.length === 0 ? [] : [`${remove.join(', ')} to be removed`]),
    ...(rekey.length === 0 ? [] : [`the new keys of ${rekey.join(', ')} to be named`]),
    ...(newKey ? ['a new segment key to be named'] : []),
  ];
  const options = [
    ...admit.map((agent) => ` --admit ${agent}=SHA256:…`),
    ...remove.map((agent) => ` --remove ${agent}`),
  ].join('');
  const compare =
    admit.length === 0
      ? ''
      : ' The fingerprint is what the agent’s own machine shows (node agent.mjs status), never what a server says.';
  return [
    {
      look: 'held',
      lead: 'Its owner must sign the next roster.',
      text: `It waits for ${waits.join(', ')}.${compare} On the owner’s machine:`,
      command: `node scripts/opsconductor.mjs segment roster sign ${name}${options} --key ROOT-KEY --server ${server}`,
    },
  ];
}

function missingKeyOf(segment: Segment, agents: readonly Agent[]): Consequence[] {
  if (!isKeyMissing(segment, agents)) return [];
  // A revocation has a new key made already.
  if (segment.root === 'managed' && segment.keyRotationWantedAt !== null) return [];
  return [
    {
      look: 'held',
      lead: 'None of its connected agents has the segment key.',
      text:
        segment.root === 'managed'
          ? 'Nothing can run here until an agent that has it connects. If all that have it are lost, revoke them: a connected agent makes a new key. Then enter every credential of the segment again.'
          : 'Nothing can run here until an agent that has it connects, or its owner gives it back with the recovery key.',
    },
  ];
}

/** What a revocation leaves to be done. */
function rotationsOf(segment: Segment, agents: readonly Agent[]): Consequence[] {
  const left: Consequence[] = [];
  // A new key that waits for its owner's signature is reported by `toSignOf`.
  if (segment.keyRotationWantedAt !== null && segment.toSign?.newKey !== true) {
    const old = agents.filter((agent) => agent.state === 'connected' || agent.state === 'draining');
    left.push({
      look: 'held',
      lead: 'Its key must be replaced.',
      text:
        old.length === 0
          ? 'An agent that has it was revoked. The next agent that connects or enrolls makes the new one; until then nothing can be sealed to the segment.'
          : `An agent that has it was revoked, and no connected agent has made the new one: ${old.map(({ name }) => name).join(', ')} may run a version that can’t. Give its machine this server’s agent.mjs and restart it.`,
    });
  }
  const { credentialsToRotate: count } = segment;
  if (count > 0) {
    left.push({
      look: 'partial',
      lead: `${counted(count, 'credential')} must be rotated.`,
      text: `A revoked agent can open ${count === 1 ? 'it' : 'them'}: change ${count === 1 ? 'the secret' : 'the secrets'} on the targets, then seal the new ${count === 1 ? 'one' : 'ones'}.`,
    });
  }
  return left;
}

/** Returns whether an agent matches a search: part of its name, machine, address, state or a label. */
export function agentFits(agent: Agent, wanted: string): boolean {
  const labels = Object.entries(agent.labels).map(([name, value]) =>
    value === '' ? name : `${name}=${value}`,
  );
  return [agent.name, agent.hostname ?? '', agent.address ?? '', agent.state, ...labels].some((text) =>
    text.toLowerCase().includes(wanted),
  );
}

export function misunderstoodWords(agent: Pick<Agent, 'name' | 'version' | 'lastClose'>): Consequence {
  const reason = agent.lastClose?.reason ?? '';
  if (agent.lastClose?.code === closeCodes.noCommonVersion) {
    return {
      look: 'failed',
      lead: `${agent.name} and the server have no protocol version in common.`,
      text: `The server refuses it${reason === '' ? '' : ` (${reason})`}, and the agent, last seen as version ${agent.version}, tries again every 2 to 5 minutes. Update the older of the two: give its machine this server’s agent.mjs and restart it. Its running steps continue, and their output waits on its disk.`,
    };
  }
  return {
    look: 'failed',
    lead: `The server does not understand ${agent.name}.`,
    text: `It closed the connection because of a message${reason === '' ? '' : ` (${reason})`}, and the agent, version ${agent.version}, tries again. Give its machine this server’s agent.mjs and restart it; if that is the one it has, report it with both logs. Its running steps continue, and their output waits on its disk.`,
  };
}

function worstOf(segment: Segment, agents: readonly Agent[]): Consequence | undefined {
  const unknownSteps = agents.reduce((sum, agent) => sum + agent.unknownSteps, 0);
  const quarantined = agents.find((agent) => agent.state === 'quarantined');
  if (unknownSteps > 0) {
    const on = agents.filter((agent) => agent.unknownSteps > 0).map((agent) => agent.name);
    const rest = agents.filter((agent) => agent.state === 'connected').map((agent) => agent.name);
    return {
      look: 'unknown',
      lead: `${counted(unknownSteps, 'step is', 'steps are')} unknown.`,
      text: `They ran on ${on.join(', ')} when it was cut off. ${rest.length === 0 ? 'New steps wait.' : `New steps go to ${rest.join(', ')}.`}`,
    };
  }
  const disabled = agents.filter(({ state }) => state === 'disabled');
  const isAllBarred = agents.length > 0 && agents.every(isBarred);
  const waiting = segment.waitingSteps;
  const waits =
    waiting === 0 ? undefined : `${counted(waiting, 'step is', 'steps are')} waiting for an agent.`;
  const isAllQuarantined = isAllBarred && disabled.length === 0;
  if ((segment.health === 'offline' || isAllBarred) && !isAllQuarantined) {
    return {
      look: 'failed',
      lead: waits ?? 'Nothing can run here.',
      text: whyNoneConnected(agents, disabled),
    };
  }
  if (isAllLeaving(agents)) {
    return { look: 'held', lead: waits ?? 'No new step starts here.', text: whyAllLeave(agents) };
  }
  if (quarantined !== undefined) {
    return {
      look: 'held',
      lead: `${quarantined.name} is quarantined.`,
      text: 'An older copy of its identity connected: it was cloned or restored from a backup. It gets no steps until it is enrolled again.',
    };
  }
  return undefined;
}

const noneConnected = 'No agent of this segment is connected.';
const checkMachine = 'on its machine whether the agent is running and can reach the server.';

function whyNoneConnected(agents: readonly Agent[], disabled: readonly Agent[]): string {
  if (disabled.length === 0) return `${noneConnected} Check ${checkMachine}`;
  const one = disabled.length === 1;
  const enable = `${namesOf(disabled)} ${one ? 'is' : 'are'} disabled`;
  if (agents.every(isBarred)) return `${enable}: enable ${one ? 'it' : 'one of them'}, or add another agent.`;
  return `${noneConnected} ${enable}: enable ${one ? 'it' : 'one of them'}, or check for another one ${checkMachine}`;
}

/** Whether those that are connected only end what they have begun. */
function isAllLeaving(agents: readonly Agent[]): boolean {
  return (
    agents.some(({ state }) => state === 'draining') &&
    !agents.some(({ state }) => state === 'connected' || state === 'silent')
  );
}

function whyAllLeave(agents: readonly Agent[]): string {
  const drained = agents.filter((agent) => agent.state === 'draining' && agent.drainRequestedAt !== null);
  const disabled = agents.filter(({ state }) => state === 'disabled');
  const stopping = agents.filter((agent) => agent.state === 'draining' && agent.drainRequestedAt === null);
  const said = [
    ...(drained.length === 0 ? [] : [`${namesOf(drained)} ${drained.length === 1 ? 'drains' : 'drain'}`]),
    ...(stopping.length === 0 ? [] : [`${namesOf(stopping)} ${stopping.length === 1 ? 'stops' : 'stop'}`]),
    ...(disabled.length === 0
      ? []
      : [`${namesOf(disabled)} ${disabled.length === 1 ? 'is' : 'are'} disabled`]),
  ];
  const ways = [
    ...(drained.length === 0 ? [] : ['end the draining']),
    ...(disabled.length === 0 ? [] : ['enable one']),
    'add another agent',
  ];
  const what = ways.length === 1 ? ways.join('') : `${ways.slice(0, -1).join(', ')}, or ${ways.at(-1)}`;
  return `${said.join(' and ')}: ${what}.`;
}

/** Of many, the first few. */
function namesOf(agents: readonly Agent[]): string {
  const shown = agents.slice(0, 3).map(({ name }) => name);
  const more = agents.length - shown.length;
  return listed(more === 0 ? shown : [...shown, `${count(more)} more`]);
}
