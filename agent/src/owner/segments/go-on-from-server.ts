// Two rosters of one root have diverged: the server's names a segment key that the other does not, and the server
// accepts nothing that is built on the other. So the next roster continues from the server's, and admits nobody whom
// either roster has removed.
import { type Roster, type RosterAgent, rosterMember } from '@opsconductor/protocol/sealing';

/**
 * @param shown the server's roster.
 * @param held the roster that is abandoned.
 * @returns the roster to build the next one on, numbered above both, and the names of members to remove from it.
 */
export function goOnFromServer(shown: Roster, held: Roster): { base: Roster; remove: string[] } {
  return {
    // Agents may have seen either.
    base: { ...withRemoved(shown, held), number: Math.max(shown.number, held.number) },
    remove: namesOfRemoved(shown, held),
  };
}

/** Returns the roster, in which the numbers of agents that another one has removed are not free either. */
export function withRemoved(roster: Roster, other: Roster): Roster {
  const more = other.revoked.filter(({ agentId }) => !isKnown(roster, agentId));
  return more.length === 0 ? roster : { ...roster, revoked: [...roster.revoked, ...more] };
}

/** Returns the names of members that another roster has removed. */
export function namesOfRemoved(roster: Roster | undefined, other: Roster | undefined): string[] {
  const isOut = new Set(other?.revoked.map(({ agentId }) => agentId));
  return (roster?.agents ?? []).filter(({ agentId }) => isOut.has(agentId)).map(({ name }) => name);
}

/** Returns what `held` decides and the next roster, built on `shown`, does not say, in words for a person. */
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
        `drops generation ${generation} of the segment key that ${by} names: seal again whatever was sealed to it`,
    ),
  ];
}

function isKnown({ agents, revoked }: Roster, id: number): boolean {
  return [...agents, ...revoked].some(({ agentId }) => agentId === id);
}

function hasSameKeys(one: RosterAgent, other: RosterAgent): boolean {
  return one.signingKey === other.signingKey && one.encryptionKey === other.encryptionKey;
}
