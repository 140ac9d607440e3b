// Computes within which time the agents of a server should reconnect if it goes away (ADR 0047, 0068).
import { limits } from '@opsconductor/protocol';

/** The rest of an agent's allowed silence is for the time since its last heartbeat, and for the handshake. */
const shareOfSilence = 1 / 3;

/**
 * Returns the time within which an agent should reconnect, in ms. It is short enough that the agent is back before its
 * attempts become unknown, after `unknownAfterS` seconds of silence.
 *
 * @param comeOverMs time that all agents that reconnect with it take together.
 */
export function reconnectWithin(comeOverMs: number, unknownAfterS: number): number {
  return Math.min(
    comeOverMs,
    limits.maxReconnectWithinMs,
    Math.floor(unknownAfterS * 1_000 * shareOfSilence),
  );
}

/**
 * Agents of each segment that reconnect before the others, each with its time as a multiple of what the first ones
 * alone take. The second one is there in case the first is gone too, or is fully busy.
 */
const turnsOfFirst = [1, 3];

/**
 * Returns, for the agents that have been connected longest in each segment, the time within which they reconnect, in
 * ms.
 *
 * @param agents in the order in which they connected.
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
