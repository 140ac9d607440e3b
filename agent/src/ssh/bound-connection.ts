// Limits how much of the agent's memory a target can occupy through one connection. ssh2 announces a window, but
// buffers whatever a server sends beyond it; and it answers every request, even if the server never reads the answers.
import type { Duplex, Readable } from 'node:stream';
import type { ClientChannel } from 'ssh2';

/** Limit on unread data of one stream: twice the window that ssh2 gives a channel. */
const maxUnreadBytes = 4 * 1024 * 1024;
/** Limit on data that the server hasn't taken yet: more than any upload has in transit. */
const maxUnsentBytes = 64 * 1024 * 1024;

/**
 * Ends a connection at once. A stream through a jump host brings more until that host has closed it, and ssh2 goes on
 * with it: it would reserve memory for a packet after refusing it for its length.
 */
export function cutOff(socket: Duplex): void {
  socket.removeAllListeners('data');
  socket.destroy();
}

/** Closes the connection if the other side sends far more on a channel than its window allows. */
export function boundChannel(channel: ClientChannel, socket: Duplex): void {
  for (const stream of [channel, channel.stderr] as Readable[]) {
    const push = stream.push.bind(stream);
    stream.push = (chunk: Buffer | null) => {
      if (chunk === null || stream.readableLength <= maxUnreadBytes) return push(chunk);
      cutOff(socket);
      return false;
    };
  }
}

/** Closes the connection if the other side keeps sending without reading. */
export function boundAnswers(socket: Duplex): void {
  socket.on('data', () => {
    if (socket.writableLength > maxUnsentBytes) cutOff(socket);
  });
}
