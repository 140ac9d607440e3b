// Two rosters of one root that went apart: the server has one of them, names a segment key by it that the other does not, and
// takes nothing that is built on the other. Its own is gone on from; nobody whom either has taken out is let in again.
import { type Roster, type RosterAgent, rosterMember } from '@opsconductor/protocol/sealing';

/**
 * @param shown that the server has.
 * @param held that is not gone on from.
 * @returns what the next one is built on, numbered above both, and the names of its members to take out.
 */
export function goOnFromServer(shown: Roster, held: Roster): { base: Roster; remove: string[] } {
  const isOut = new Set(held.revoked.map(({ agentId }) => agentId));
  return {
    base: {
      ...shown,
      // Agents may have seen either.
      number: Math.max(shown.number, held.number),
      revoked: [...shown.revoked, ...held.revoked.filter(({ agentId }) => !isKnown(shown, agentId))],
    },
    remove: shown.agents.filter(({ agentId }) => isOut.has(agentId)).map(({ name }) => name),
  };
}

/** What `held` decides and the next one, built on `shown`, does not say, for a person. */
export function whatIsDropped(next: Roster, shown: Roster, held: Roster): string[] {
  const by = `roster ${held.number}`;
  const left = held.agents.filter(({ agentId }) => !isKnown(next, agentId));
  const otherKeys = held.agents.filter((member) => {
    const now = rosterMember(next, member.agentId);
    return now !== undefined && !hasSameKeys(now, member);
  });
  const keys = new Set(next.segmentKeys.map(({ publicKey }) => publicKey));
  const lost = held.segmentKeys.filter(({ publicKey }) => !keys.has(publicKey));
  const isRecoveryDropped = next.recoveryKey === shown.recoveryKey && next.recoveryKey !== held.recoveryKey;
  return [
    ...left.map(({ name }) => `leaves out agent ${name}, which ${by} names`),
    ...otherKeys.map(({ name }) => `names other keys of agent ${name} than ${by}`),
    ...(isRecoveryDropped
      ? [`names ${next.recoveryKey === undefined ? 'no recovery key' : 'another recovery key'}, unlike ${by}`]
      : []),
    ...lost.map(
      ({ generation }) =>
        `drops generation ${generation} of the segment key that ${by} names: seal anew what was sealed to it`,
    ),
  ];
}

function isKnown({ agents, revoked }: Roster, id: number): boolean {
  return [...agents, ...revoked].some(({ agentId }) => agentId === id);
}

function hasSameKeys(one: RosterAgent, other: RosterAgent): boolean {
  return one.signingKey === other.signingKey && one.encryptionKey === other.encryptionKey;
}
