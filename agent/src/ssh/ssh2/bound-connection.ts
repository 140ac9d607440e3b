// Limits how much of the agent's memory a target can occupy through one connection. ssh2 announces a window, but
// buffers whatever a server sends beyond it; and it answers every request, even if the server never reads the answers.
import type { Duplex, Readable } from 'node:stream';
import type { Client, ClientChannel } from 'ssh2';

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

/** The part used here of ssh2 1.17's list of channels. */
interface Channels {
  /** Called when a channel has been opened, before anything arrives on it. */
  update(id: number, channel: ClientChannel): void;
}

/** Closes the connection if the other side does with a channel what it may not. Call it before a channel is opened. */
export function boundChannels(client: Client, socket: Duplex): void {
  const { _chanMgr: channels } = client as unknown as { _chanMgr: Channels };
  const update = channels.update.bind(channels);
  channels.update = (id, channel) => {
    for (const stream of [channel, channel.stderr]) boundStream(stream as Readable, socket);
    update(id, channel);
  };
}

/**
 * Closes the connection if far more is sent than the channel's window allows, or anything after the end. Of the latter,
 * ssh2 makes an error of the stream, which would end the process if it is the stream of errors.
 */
function boundStream(stream: Readable, socket: Duplex): void {
  const push = stream.push.bind(stream);
  let hasEnded = false;
  stream.push = (chunk: Buffer | null) => {
    if (chunk === null) hasEnded = true;
    else if (hasEnded || stream.readableLength > maxUnreadBytes) {
      cutOff(socket);
      return false;
    }
    return push(chunk);
  };
}

/** Closes the connection if the other side keeps sending without reading. */
export function boundAnswers(socket: Duplex): void {
  socket.on('data', () => {
    if (socket.writableLength > maxUnsentBytes) cutOff(socket);
  });
}
