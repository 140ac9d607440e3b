// What a server asks of its client, all of which an agent refuses. ssh2 reads every key of a list of host keys that it is
// sent, has the server prove that it has them, and keeps them until it answers: a server could hold up its agent for
// half a minute with one megabyte. And not every channel that ssh2 is to open is refused.
import handlers from 'ssh2/lib/protocol/handlers.js';
import { WireReader } from '../host-keys/wire-reader.ts';

/** The parts of ssh2's protocol that are used here. */
interface Protocol {
  _server: boolean;
  requestFailure(): void;
  channelOpenFail(channel: number, reason: number, description: string): void;
}
type Handler = (protocol: Protocol, payload: Buffer) => unknown;

// RFC 4254, sections 4 and 5.1.
const globalRequest = 80;
const openChannel = 90;
const administrativelyProhibited = 1;

// ssh2 has one list for all connections of a process.
refuseBy(globalRequest, (protocol, payload) => {
  const request = new WireReader(payload.subarray(1));
  request.string();
  const wantsReply = payload[1 + request.position] === 1;
  if (wantsReply) protocol.requestFailure();
});
refuseBy(openChannel, (protocol, payload) => {
  const request = new WireReader(payload.subarray(1));
  request.string();
  protocol.channelOpenFail(request.uint32(), administrativelyProhibited, '');
});

function refuseBy(type: number, refuse: Handler): void {
  const all = handlers as unknown as Handler[];
  const original = all[type] as Handler;
  all[type] = (protocol, payload) => (protocol._server ? original : refuse)(protocol, payload);
}
