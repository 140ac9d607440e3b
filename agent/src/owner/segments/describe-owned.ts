// Describes a segment to its owner, in lines of text.
import { rosterMember } from '@opsconductor/protocol/sealing';
import type { OwnedState } from './owned-segment.ts';

/** Returns the state of a segment for its owner, line by line. */
export function describeOwned(owned: OwnedState): string[] {
  const { known, state, roster, isBehind, droppedGenerations, older, broughtBack } = owned;
  const lines = [
    `segment   ${known.segmentName} (id ${known.segmentId})`,
    `root      ${known.rootFingerprint}`,
    `roster    ${roster === undefined ? 'none yet' : `${roster.number}, generation ${roster.currentGeneration} of the segment key`}`,
    `recovery  ${roster?.recoveryKey === undefined ? 'no recovery key' : 'has a recovery key'}`,
  ];
  if (isBehind && droppedGenerations.length > 0)
    lines.push('apart     the server has a segment key that this roster drops: roster sign says what to do');
  else if (isBehind) lines.push('behind    the server has an older roster: sign again, and it is sent');
  for (const agent of state.agents) {
    const isMember = roster !== undefined && rosterMember(roster, agent.id) !== undefined;
    if (isMember && agent.state !== 'revoked') lines.push(`agent     ${agent.name}, in the roster`);
    else if (isMember) lines.push(`agent     ${agent.name}, revoked: remove it with --remove ${agent.name}`);
    else if (agent.state === 'active')
      lines.push(`agent     ${agent.name}, waits: --admit ${agent.name}=SHA256:… as its machine shows it`);
  }
  for (const name of broughtBack)
    lines.push(
      `agent     ${name}, removed by roster ${older?.number}: remove it again with --remove ${name}`,
    );
  for (const { agentId } of state.keyChanges ?? []) {
    const member = roster && rosterMember(roster, agentId);
    if (member !== undefined) lines.push(`agent     ${member.name}, has new keys that wait to be signed`);
  }
  const next = (roster?.currentGeneration ?? 0) + 1;
  if (state.offers.some(({ generation }) => generation === next)) {
    lines.push(`key       generation ${next} was made and waits to be signed`);
  }
  return lines;
}
