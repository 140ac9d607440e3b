import { encodeBase64, type Roster, type SignedRoster, signRoster } from '@opsconductor/protocol/sealing';
import type { MasterKey } from '../credentials/at-rest/master-key.ts';
import { type AgentRow, listSegmentAgents } from '../store/agents/agents.ts';
import {
  listSegmentKeys,
  notifySegmentChanged,
  type SegmentRow,
  storeRoster,
} from '../store/agents/segments.ts';
import type { Tx } from '../store/database/connection.ts';
import { openRoot } from './segment-root.ts';

/**
 * Signs and stores the segment's next roster: its active agents, its key generations, and the revoked agents. Before
 * the segment has a key there is nothing to vouch for, and so no roster. For an owner-held root it only announces the
 * change, because the owner signs.
 * @param segment as `lockSegment` returned it in this transaction, so that two rosters never share a number.
 */
export async function publishRoster(
  tx: Tx,
  options: { segment: SegmentRow; installationId: string; masterKey: MasterKey },
): Promise<SignedRoster | undefined> {
  const { segment, installationId, masterKey } = options;
  if (segment.rootMode === 'owner_held') {
    await notifySegmentChanged(tx, segment.id);
    return undefined;
  }
  const keys = await listSegmentKeys(tx, segment.id);
  const newest = keys.at(-1);
  if (newest === undefined) return undefined;
  const agents = await listSegmentAgents(tx, segment.id);
  const number = segment.rosterNumber + 1;
  const roster: Roster = {
    installationId,
    segmentId: segment.id,
    number,
    agents: agents.filter((agent) => agent.state === 'active').map(toMember),
    segmentKeys: keys.map((key) => ({ generation: key.generation, publicKey: encodeBase64(key.publicKey) })),
    currentGeneration: newest.generation,
    revoked: revokedAgents(segment, agents, number),
  };
  const root = openRoot(masterKey, segment);
  try {
    const signed = await signRoster(root, roster);
    await storeRoster(tx, segment.id, { number, signed });
    await notifySegmentChanged(tx, segment.id);
    return signed;
  } finally {
    root.fill(0);
  }
}

function toMember(agent: AgentRow): Roster['agents'][number] {
  return {
    agentId: agent.id,
    name: agent.name,
    signingKey: encodeBase64(agent.signingKey),
    encryptionKey: encodeBase64(agent.encryptionKey),
  };
}

/** Revoked agents keep the number of the roster that revoked them. */
function revokedAgents(segment: SegmentRow, agents: readonly AgentRow[], number: number): Roster['revoked'] {
  const previous =
    segment.rosterPayload === null ? [] : (JSON.parse(segment.rosterPayload) as Roster).revoked;
  const known = new Map(previous.map(({ agentId, atNumber }) => [agentId, atNumber]));
  return agents
    .filter((agent) => agent.state === 'revoked')
    .map((agent) => ({ agentId: agent.id, atNumber: known.get(agent.id) ?? number }));
}
