// Builds the next roster of a segment from the previous one and its owner's decisions. Nothing that the server says is
// taken on its word: agents' keys are compared with what their machines show, and segment keys are signed by members.
import type { SegmentRoster } from '@opsconductor/protocol';
import {
  agentFingerprint,
  decodeBase64,
  keyChangeStatement,
  publicKeyBytes,
  type Roster,
  type RosterAgent,
  segmentKeyStatement,
  verifyBase64,
} from '@opsconductor/protocol/sealing';
import { AgentError } from '../../agent-error.ts';
import { typedCommand } from '../../command-line/typed-command.ts';

export interface RosterDecisions {
  /** Fingerprints as shown by their machines, by the names of the agents to admit. */
  admit: ReadonlyMap<string, string>;
  /** Names of members to remove. */
  remove: readonly string[];
  /** Public half of the new recovery key, base64, if it is to change. */
  recoveryKey?: string | undefined;
}

export interface NextRosterInput {
  installationId: string;
  segmentId: number;
  rootPublicKey: Uint8Array;
  /** The newest roster that the root has signed. */
  base: Roster | undefined;
  /** What the server says. */
  state: Pick<SegmentRoster, 'agents' | 'offers' | 'keyChanges'>;
  decisions: RosterDecisions;
}

export interface NextRoster {
  roster: Roster;
  /** The differences from the previous roster, in words for a person; empty if there are none. */
  changes: string[];
}

/** @throws {AgentError} for a decision that can't be carried out. */
export async function nextRoster(input: NextRosterInput): Promise<NextRoster> {
  const { base, decisions } = input;
  const number = (base?.number ?? 0) + 1;
  const removed = (base?.agents ?? []).filter(({ name }) => decisions.remove.includes(name));
  refuseUnknown(decisions.remove, removed);
  const stay = (base?.agents ?? []).filter((member) => !removed.includes(member));
  refuseRevoked(input, stay);
  const { members, rekeyed } = await withNewKeys(input, stay);
  const admitted = await admit(input, members, removed);
  const agents = [...members, ...admitted];
  // Checked with the keys in the previous roster, since offers were signed before new keys come into use.
  const made = await offeredKey(input, [...stay, ...admitted]);
  const segmentKeys = [...(base?.segmentKeys ?? []), ...(made === undefined ? [] : [made])];
  const currentGeneration = made?.generation ?? base?.currentGeneration;
  if (currentGeneration === undefined) {
    throw new AgentError(
      'No admitted agent has made a segment key yet.',
      'Enroll the first agent of the segment, and admit it: --admit NAME=SHA256:…',
    );
  }
  const recoveryKey = decisions.recoveryKey ?? base?.recoveryKey;
  const revoked = removed.map(({ agentId }) => ({ agentId, atNumber: number }));
  return {
    roster: {
      installationId: input.installationId,
      segmentId: input.segmentId,
      number,
      agents,
      segmentKeys,
      currentGeneration,
      ...(recoveryKey === undefined ? {} : { recoveryKey }),
      revoked: [...(base?.revoked ?? []), ...revoked],
    },
    changes: [
      ...admitted.map(({ name }) => `admits agent ${name}`),
      ...removed.map(({ name }) => `removes agent ${name}`),
      ...rekeyed.map(
        (name) => `names the new keys of agent ${name}, which it has signed with its previous ones`,
      ),
      ...(made === undefined ? [] : [`names generation ${made.generation} of the segment key`]),
      ...(removed.length > 0 && made === undefined && base !== undefined
        ? [
            `keeps generation ${base.currentGeneration} of the segment key, which a removed agent may have: seal nothing until a second signing names the next one`,
          ]
        : []),
      ...(recoveryKey === base?.recoveryKey ? [] : ['names the recovery key']),
    ],
  };
}

function refuseUnknown(remove: readonly string[], found: readonly RosterAgent[]): void {
  const unknown = remove.find((name) => !found.some((member) => member.name === name));
  if (unknown === undefined) return;
  throw new AgentError(
    `The roster names no agent ${unknown}.`,
    `See who is in it: ${typedCommand()} segment show.`,
  );
}

/** A hostile server can ignore a revocation: a roster that still names the agent would get it any new segment key. */
function refuseRevoked({ state }: NextRosterInput, stay: readonly RosterAgent[]): void {
  const revoked = stay.find(({ agentId }) =>
    state.agents.some((agent) => agent.id === agentId && agent.state === 'revoked'),
  );
  if (revoked === undefined) return;
  throw new AgentError(
    `Agent ${revoked.name} was revoked, but the next roster would still name it.`,
    `Remove it: --remove ${revoked.name}. Nothing was signed.`,
  );
}

/** Returns the members, with new keys for those who have signed them with the keys in the previous roster. */
async function withNewKeys(
  { state, installationId, segmentId }: NextRosterInput,
  stay: readonly RosterAgent[],
): Promise<{ members: RosterAgent[]; rekeyed: string[] }> {
  const members: RosterAgent[] = [];
  const rekeyed: string[] = [];
  for (const member of stay) {
    const { agentId, name } = member;
    const change = state.keyChanges?.find((one) => one.agentId === agentId);
    if (change === undefined) {
      members.push(member);
      continue;
    }
    const { signingKey, encryptionKey, signature } = change;
    const oldSigningKey = decodeBase64(member.signingKey, publicKeyBytes, 'signingKey');
    const statement = keyChangeStatement({
      installationId,
      segmentId,
      agentId,
      oldSigningKey,
      signingKey: decodeBase64(signingKey, publicKeyBytes, 'signingKey'),
      encryptionKey: decodeBase64(encryptionKey, publicKeyBytes, 'encryptionKey'),
    });
    if (!(await verifyBase64(oldSigningKey, statement, signature))) {
      throw new AgentError(
        `The new keys that the server shows for agent ${name} are not signed with the keys that it has.`,
        'Stop: the server, or something between you and it, is not what it claims to be.',
      );
    }
    members.push({ ...member, signingKey, encryptionKey });
    rekeyed.push(name);
  }
  return { members, rekeyed };
}

async function admit(
  input: NextRosterInput,
  members: readonly RosterAgent[],
  removed: readonly RosterAgent[],
): Promise<RosterAgent[]> {
  const { state, installationId, segmentId, rootPublicKey } = input;
  const admitted: RosterAgent[] = [];
  for (const [name, expected] of input.decisions.admit) {
    const agent = state.agents.find((one) => one.name === name && one.state !== 'revoked');
    if (agent === undefined) {
      throw new AgentError(
        `No agent ${name} is enrolled in this segment.`,
        `See which ones are: ${typedCommand()} segment show.`,
      );
    }
    if (members.some(({ agentId }) => agentId === agent.id)) {
      throw new AgentError(`The roster already names agent ${name}.`, `Leave --admit ${name} out.`);
    }
    if (removed.some(({ agentId }) => agentId === agent.id)) {
      throw new AgentError(
        `Agent ${name} has the number of an agent that the next roster removes (${agent.id}).`,
        `Leave --admit ${name} out, or enroll its machine again: node agent.mjs enroll --force. It gets another number. Nothing was signed.`,
      );
    }
    if (input.base?.revoked.some(({ agentId }) => agentId === agent.id) === true) {
      throw new AgentError(
        `Agent ${name} has the number of an agent that was removed (${agent.id}): the server was set back.`,
        'Enroll its machine again: node agent.mjs enroll --force. It gets another number.',
      );
    }
    const found = await agentFingerprint({
      installationId,
      segmentId,
      segmentRoot: rootPublicKey,
      signingKey: decodeBase64(agent.signingKey, publicKeyBytes, 'signingKey'),
      encryptionKey: decodeBase64(agent.encryptionKey, publicKeyBytes, 'encryptionKey'),
    });
    if (found !== expected) {
      throw new AgentError(
        // The fingerprint of the server's keys is not shown, because it would be copied into the next try.
        `The keys that the server has for agent ${name} do not match ${expected}.`,
        `Compare this with what its machine shows: node agent.mjs status. If that is what you gave, stop: the server has other keys, or the agent was led to pin another root.`,
      );
    }
    const { signingKey, encryptionKey } = agent;
    admitted.push({ agentId: agent.id, name, signingKey, encryptionKey });
  }
  return admitted;
}

/** Returns the next generation that a member has made; if several have, the first member's. */
async function offeredKey(
  { base, state, installationId, segmentId }: NextRosterInput,
  members: readonly RosterAgent[],
): Promise<Roster['segmentKeys'][number] | undefined> {
  const generation = (base?.currentGeneration ?? 0) + 1;
  for (const offer of state.offers) {
    const member = members.find(({ agentId }) => agentId === offer.agentId);
    if (member === undefined || offer.generation !== generation) continue;
    const statement = segmentKeyStatement({
      installationId,
      segmentId,
      agentId: member.agentId,
      generation,
      segmentPublicKey: decodeBase64(offer.publicKey, publicKeyBytes, 'publicKey'),
      wrapped: offer.wrapped,
    });
    const signingKey = decodeBase64(member.signingKey, publicKeyBytes, 'signingKey');
    if (!(await verifyBase64(signingKey, statement, offer.signature))) {
      throw new AgentError(
        `The segment key that the server shows as made by agent ${member.name} is not signed by it.`,
        'Stop: the server, or something between you and it, is not what it claims to be.',
      );
    }
    if (base?.segmentKeys.some(({ publicKey }) => publicKey === offer.publicKey) === true) {
      throw new AgentError(
        `What agent ${member.name} offers as the next segment key is one that the roster names already.`,
        `Nobody gets a new key while that agent offers this one: remove it with --remove ${member.name}, and enroll its machine again. Nothing was signed.`,
      );
    }
    return { generation, publicKey: offer.publicKey };
  }
  return undefined;
}
