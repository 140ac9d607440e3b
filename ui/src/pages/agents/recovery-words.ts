// Whether an owner-held segment would come back if all of its agents were lost, in words, and what its owner does.
import type { Agent, Segment, SegmentRecovery } from '@opsconductor/protocol';
import { listed } from '../../format/quantity.ts';
import type { Consequence } from './agent-words.ts';

const program = 'node scripts/opsconductor.mjs';

export interface RecoveryStep {
  text: string;
  command?: string;
}

/** `server`: its address, for commands. */
export function recoveryState(
  { name, keyGeneration }: Pick<Segment, 'name' | 'keyGeneration'>,
  { recoveryKey, wraps }: SegmentRecovery,
  server: string,
): Consequence & { commands: string[] } {
  const at = `--key ROOT-KEY --server ${server}`;
  if (recoveryKey === null)
    return {
      look: 'held',
      lead: 'It has no recovery key.',
      text: 'Only its agents have the segment key: if all of their machines are lost, its credentials are lost, too. On the owner’s machine, make a recovery key, name it in the roster, then keep its file offline:',
      commands: [
        `${program} key make ${name}-recovery.key --purpose recovery`,
        `${program} segment roster sign ${name} ${at} --recovery ${name}-recovery.key`,
      ],
    };
  if (keyGeneration === 0)
    return {
      look: 'queued',
      lead: 'It has a recovery key, but no segment key yet.',
      text: 'Its first agent makes the segment key, and wraps it for the recovery key.',
      commands: [],
    };
  const wrapped = new Set(wraps.map(({ generation }) => generation));
  const missing = Array.from({ length: keyGeneration }, (_, at) => at + 1).filter((one) => !wrapped.has(one));
  if (missing.length > 0)
    return {
      look: 'held',
      lead: `${missing.length === 1 ? 'Generation' : 'Generations'} ${listed(missing.map(String))} of the segment key can’t be recovered yet.`,
      text: 'No agent has wrapped it for the recovery key. Each agent that has it does so when it next connects to the server.',
      commands: [],
    };
  const isOne = keyGeneration === 1;
  return {
    look: 'succeeded',
    lead: isOne
      ? 'The segment key is wrapped for the recovery key.'
      : `All ${keyGeneration} generations of the segment key are wrapped for the recovery key.`,
    text: `Whether ${isOne ? 'it opens' : 'they open'}, only the recovery key can tell. On the owner’s machine, prove it now, after each new generation, and whenever you check your backups:`,
    commands: [`${program} recovery prove ${name} ${at} --recovery RECOVERY-KEY`],
  };
}

/** What to do when all agents of the segment are lost; begins where an agent without the segment key is now. */
export function recoverySteps(
  { name, toSign }: Pick<Segment, 'name' | 'toSign'>,
  agents: readonly Agent[],
  server: string,
): RecoveryStep[] {
  const at = `--key ROOT-KEY --server ${server}`;
  const found = agents.find(({ state, hasSegmentKey }) => state === 'connected' && !hasSegmentKey)?.name;
  const agent = found ?? 'NEW-AGENT';
  const isAdmitted = found !== undefined && toSign?.admit.includes(found) !== true;
  const enroll = { text: 'Enroll a new agent into the segment, and start it. It runs nothing yet.' };
  const admit = {
    text: 'On the owner’s machine, admit it, with --remove for each agent that is lost. The fingerprint is what the new agent’s own machine shows (node agent.mjs status).',
    command: `${program} segment roster sign ${name} ${at} --admit ${agent}=SHA256:… --remove LOST-AGENT`,
  };
  return [
    ...(found === undefined ? [enroll] : []),
    ...(isAdmitted ? [] : [admit]),
    {
      text: `On the owner’s machine, give ${found ?? 'it'} the segment key. Runs go on at once.`,
      command: `${program} recovery use ${name} --agent ${agent} ${at} --recovery RECOVERY-KEY`,
    },
    {
      text: 'After --remove, the agent makes the next segment key: sign the roster once more, then seal the credentials that are listed as to rotate.',
    },
  ];
}

/** Whether agents are connected and, if an owner holds the root, admitted, but the segment key is with none of them. */
export function isKeyMissing(
  { keyGeneration, toSign }: Pick<Segment, 'keyGeneration' | 'toSign'>,
  agents: readonly Agent[],
): boolean {
  if (keyGeneration === 0) return false;
  const live = agents.filter(({ state }) => state === 'connected' || state === 'draining');
  return (
    live.some(({ name }) => toSign?.admit.includes(name) !== true) &&
    live.every(({ hasSegmentKey }) => !hasSegmentKey)
  );
}
