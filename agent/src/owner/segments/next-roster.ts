// The next roster of a segment, made from the one before and what its owner decides. Of what the server says, nothing is
// taken on its word: keys of agents are compared with what their machines show, segment keys are signed by members.
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
import { typedCommand } from '../../typed-command.ts';

export interface RosterDecisions {
  /** Fingerprints by the names of agents to admit, as their machines show them. */
  admit: ReadonlyMap<string, string>;
  /** Names of members to take out. */
  remove: readonly string[];
  /** Public half of the recovery key, base64, where it is to be another one. */
  recoveryKey?: string | undefined;
}

export interface NextRosterInput {
  installationId: string;
  segmentId: number;
  rootPublicKey: Uint8Array;
  /** The newest one that the root has signed. */
  base: Roster | undefined;
  /** What the server says. */
  state: Pick<SegmentRoster, 'agents' | 'offers' | 'keyChanges'>;
  decisions: RosterDecisions;
}

export interface NextRoster {
  roster: Roster;
  /** What is different from the one before, for a person; empty where nothing is. */
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
  // By the keys that the roster before names: what was offered was signed before new ones are in use.
  const made = await offeredKey(input, [...stay, ...admitted]);
  const segmentKeys = [...(base?.segmentKeys ?? []), ...(made === undefined ? [] : [made])];
  const currentGeneration = made?.generation ?? base?.currentGeneration;
  if (currentGeneration === undefined) {
    throw new AgentError(
      'No agent that is admitted has made a segment key yet.',
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
      ...removed.map(({ name }) => `takes out agent ${name}`),
      ...rekeyed.map((name) => `names the new keys of agent ${name}, which it has signed by those before`),
      ...(made === undefined ? [] : [`names generation ${made.generation} of the segment key`]),
      ...(removed.length > 0 && made === undefined && base !== undefined
        ? [
            `keeps generation ${base.currentGeneration} of the segment key, which who was taken out may have: seal nothing before a second signing names the next one`,
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

/** A roster that names it beside a new segment key would get it that key: a hostile server keeps what it has refused. */
function refuseRevoked({ state }: NextRosterInput, stay: readonly RosterAgent[]): void {
  const revoked = stay.find(({ agentId }) =>
    state.agents.some((agent) => agent.id === agentId && agent.state === 'revoked'),
  );
  if (revoked === undefined) return;
  throw new AgentError(
    `Agent ${revoked.name} was revoked, and the next roster would name it still.`,
    `Take it out: --remove ${revoked.name}. Nothing was signed.`,
  );
}

/** Members whose own keys are replaced, as they have signed by those that the roster before names. */
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
      ...{ installationId, segmentId, agentId, oldSigningKey },
      signingKey: decodeBase64(signingKey, publicKeyBytes, 'signingKey'),
      encryptionKey: decodeBase64(encryptionKey, publicKeyBytes, 'encryptionKey'),
    });
    if (!(await verifyBase64(oldSigningKey, statement, signature))) {
      throw new AgentError(
        `The new keys that the server shows of agent ${name} are not signed by those that it has.`,
        'Do not go on: the server, or what stands between, is not what it says.',
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
        `See which are: ${typedCommand()} segment show.`,
      );
    }
    if (members.some(({ agentId }) => agentId === agent.id)) {
      throw new AgentError(`The roster names agent ${name} already.`, `Leave --admit ${name} out.`);
    }
    if (removed.some(({ agentId }) => agentId === agent.id)) {
      throw new AgentError(
        `Agent ${name} has the number of one that the next roster takes out (${agent.id}).`,
        `Leave --admit ${name} out, or enroll its machine anew: node agent.mjs enroll --force. It gets another number. Nothing was signed.`,
      );
    }
    if (input.base?.revoked.some(({ agentId }) => agentId === agent.id) === true) {
      throw new AgentError(
        `Agent ${name} has the number of one that was taken out (${agent.id}): the server was set back.`,
        'Enroll its machine anew: node agent.mjs enroll --force. It gets another number.',
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
        // What they come to is not told: it would be copied into the next try.
        `The keys that the server has of agent ${name} do not come to ${expected}.`,
        `Compare with what its machine says: node agent.mjs status. Where that is what you gave, do not go on: the server has other keys, or the agent was led to pin another root.`,
      );
    }
    const { signingKey, encryptionKey } = agent;
    admitted.push({ agentId: agent.id, name, signingKey, encryptionKey });
  }
  return admitted;
}

/** The next generation that a member has made, of several the first member's. */
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
    if (await verifyBase64(signingKey, statement, offer.signature))
      return { generation, publicKey: offer.publicKey };
    throw new AgentError(
      `The segment key that the server shows as made by agent ${member.name} is not signed by it.`,
      'Do not go on: the server, or what stands between, is not what it says.',
    );
  }
  return undefined;
}
