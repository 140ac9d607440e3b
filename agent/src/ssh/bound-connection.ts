// What a target may take of the agent's memory on one connection. ssh2 tells a server how much it may send, and keeps
// what comes beyond that as well; and it answers each request of a server that reads no answer.
import type { Duplex, Readable } from 'node:stream';
import type { ClientChannel } from 'ssh2';

/** Twice the window that ssh2 gives a channel. */
const maxUnreadBytes = 4 * 1024 * 1024;
/** More than any upload has on its way. */
const maxUnsentBytes = 64 * 1024 * 1024;

/** Ends the connection where the other side sends on a channel what was not asked for. */
export function boundChannel(channel: ClientChannel, socket: Duplex): void {
  for (const stream of [channel, channel.stderr] as Readable[]) {
    const push = stream.push.bind(stream);
    stream.push = (chunk: Buffer | null) => {
      if (chunk === null || stream.readableLength <= maxUnreadBytes) return push(chunk);
      socket.destroy();
      return false;
    };
  }
}

/** Ends the connection where the other side sends and does not read. */
export function boundAnswers(socket: Duplex): void {
  socket.on('data', () => {
    if (socket.writableLength > maxUnsentBytes) socket.destroy();
  });
}
