// Over which time the agents of a server are to come back, should it be gone (ADR 0047, 0068).
import { limits } from '@opsconductor/protocol';

/** The rest of an agent's silence is its last heartbeat before it was cut off, and the handshake when it is back. */
const shareOfSilence = 1 / 3;

/**
 * In ms, for an agent of which nothing is known after so many seconds of silence: it is back before that.
 *
 * @param comeOverMs what all that come with it take.
 */
export function reconnectWithin(comeOverMs: number, unknownAfterS: number): number {
  return Math.min(
    comeOverMs,
    limits.maxReconnectWithinMs,
    Math.floor(unknownAfterS * 1_000 * shareOfSilence),
  );
}

/**
 * Agents of each segment that come back before the others, over so many times of what the first ones alone take. The second
 * is for where the first is gone too, or is at work that takes all that it has.
 */
const turnsOfFirst = [1, 3];

/**
 * Over which time, in ms, those come back that have been connected for longest of each segment.
 *
 * @param agents in the order in which they have been connected.
 */
export function firstOfSegments<Agent extends { segmentId: number }>(
  agents: Iterable<Agent>,
): Map<Agent, number> {
  const counts = new Map<number, number>();
  const first: [Agent, number][] = [];
  for (const agent of agents) {
    const before = counts.get(agent.segmentId) ?? 0;
    const turns = turnsOfFirst[before];
    if (turns === undefined) continue;
    counts.set(agent.segmentId, before + 1);
    first.push([agent, turns]);
  }
  const oneOfEachMs = counts.size * limits.reconnectPerFirstAgentMs;
  return new Map(first.map(([agent, turns]) => [agent, turns * oneOfEachMs]));
}
