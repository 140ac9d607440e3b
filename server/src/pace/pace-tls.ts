// TLS handshakes at the pace that the event loop has time for, each address in its turn: agents that come back by the
// hundred would have it all, and share the port with people and scripts.
import type { Server } from 'node:https';
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { Admissions } from './admissions.ts';

/** What a handshake costs is at its beginning: who is slow to go on keeps the place of others no longer. */
const maxPlaceMs = 50;

/** Of a server that takes no connections yet. */
export function paceTls(
  server: Server,
  admissions: Pick<Admissions, 'enter' | 'leave'> = new Admissions(),
): void {
  const begin = server.listeners('connection') as ((this: Server, socket: Socket) => void)[];
  server.removeAllListeners('connection');
  const places = new Map<string, () => void>();
  server.on('secureConnection', (socket: TLSSocket) => places.get(peerOf(socket))?.());
  server.on('connection', async (socket: Socket) => {
    const peer = peerOf(socket);
    // Nobody else listens to it yet.
    const onError = () => socket.destroy();
    socket.on('error', onError);
    await admissions.enter(socket.remoteAddress);
    // Who waited for a server that ends by now would keep it from that.
    if (!server.listening) socket.destroy();
    if (socket.destroyed) {
      admissions.leave();
      return;
    }
    socket.off('error', onError);
    let hasLeft = false;
    const leave = () => {
      if (hasLeft) return;
      hasLeft = true;
      // Of those that were reset before they were looked at nobody knows the address: all have the same name here.
      if (places.get(peer) === leave) places.delete(peer);
      clearTimeout(timer);
      admissions.leave();
    };
    const timer = setTimeout(leave, maxPlaceMs);
    places.set(peer, leave);
    for (const each of begin) each.call(server, socket);
  });
}

function peerOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}
