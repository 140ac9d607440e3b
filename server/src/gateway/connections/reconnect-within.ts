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

/** Agents of each segment that come back before the others: one may be at work that takes all that it has. */
const firstPerSegment = 2;

/** Those that have been connected for longest of each segment, in the order in which `agents` are. */
export function firstOfSegments<Agent extends { segmentId: number }>(agents: Iterable<Agent>): Set<Agent> {
  const counts = new Map<number, number>();
  const first = new Set<Agent>();
  for (const agent of agents) {
    const before = counts.get(agent.segmentId) ?? 0;
    if (before >= firstPerSegment) continue;
    counts.set(agent.segmentId, before + 1);
    first.add(agent);
  }
  return first;
}
