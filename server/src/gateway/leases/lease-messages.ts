// Puts leases into as few `leases` messages as their frame size allows.
import { type Lease, limits } from '@opsconductor/protocol';

const opening = '{"type":"leases","leases":[';
const closing = ']}';

/**
 * Returns the messages as text. A lease that is too large for a frame by itself still gets one; its agent refuses it
 * and says so.
 *
 * @param maxBytes size of one message, at most.
 */
export function leaseMessages(
  leases: readonly Lease[],
  maxBytes: number = limits.maxControlFrameBytes,
): string[] {
  const messages: string[][] = [];
  let room = 0;
  for (const lease of leases) {
    const text = JSON.stringify(lease);
    const bytes = Buffer.byteLength(text) + 1;
    const last = messages.at(-1);
    if (last === undefined || bytes > room) {
      messages.push([text]);
      room = maxBytes - opening.length - closing.length - bytes;
      continue;
    }
    last.push(text);
    room -= bytes;
  }
  return messages.map((texts) => `${opening}${texts.join(',')}${closing}`);
}
