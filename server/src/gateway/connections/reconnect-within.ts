// Over which time the agents of a server are to come back, should it be gone (ADR 0047).
import { limits } from '@opsconductor/protocol';

/** The rest of an agent's silence is its last heartbeat before it was cut off, and the handshake when it is back. */
const shareOfSilence = 1 / 3;

/** In ms, for an agent of which nothing is known after so many seconds of silence: it is back before that. */
export function reconnectWithin(agents: number, unknownAfterS: number): number {
  return Math.min(
    agents * limits.reconnectPerAgentMs,
    limits.maxReconnectWithinMs,
    Math.floor(unknownAfterS * 1_000 * shareOfSilence),
  );
}
