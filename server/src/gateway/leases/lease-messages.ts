// Leases in as few `leases` messages as their frames have room for.
import { type Lease, limits } from '@opsconductor/protocol';

const opening = '{"type":"leases","leases":[';
const closing = ']}';

/**
 * The messages as text. A lease that is alone too large for a frame still gets one: its agent refuses it, and says so.
 *
 * @param maxBytes of one message.
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
