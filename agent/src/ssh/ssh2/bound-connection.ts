// Limits how much of the agent's memory a target can occupy through one connection. ssh2 announces a window, but
// buffers whatever a server sends beyond it, and widens it for each of a channel's two streams though only the other has
// been read; and it answers every request, even if the server never reads the answers.
import type { Duplex, Readable } from 'node:stream';
import type { Client, ClientChannel } from 'ssh2';

/** The window that ssh2 gives a channel. It widens it again once half of it is used up. */
const windowBytes = 2 * 1024 * 1024;
/** Limit on unread data of one stream. A server that keeps to the window stays within it. */
const maxUnreadBytes = 2 * windowBytes;
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

/** The parts used here of ssh2 1.17's list of channels, of its channel and of its protocol. */
interface Channels {
  /** Called when a channel has been opened, before anything arrives on it. */
  update(id: number, channel: ClientChannel): void;
}

interface Windows {
  incoming: { window: number };
  outgoing: { id: number; state: string };
}

interface Protocol {
  channelWindowAdjust(id: number, bytes: number): void;
}

/** Closes the connection if the other side does with a channel what it may not. Call it before a channel is opened. */
export function boundChannels(client: Client, socket: Duplex): void {
  const { _chanMgr: channels, _protocol: protocol } = client as unknown as {
    _chanMgr: Channels;
    _protocol: Protocol;
  };
  const widen = protocol.channelWindowAdjust.bind(protocol);
  /** By the other side's ids. */
  const opened = new Map<number, ClientChannel>();
  protocol.channelWindowAdjust = (id, bytes) => {
    const channel = opened.get(id);
    if (channel === undefined || mayWiden(channel)) widen(id, bytes);
    // ssh2 has counted them already.
    else windowsOf(channel).incoming.window -= bytes;
  };
  const update = channels.update.bind(channels);
  channels.update = (id, channel) => {
    const { outgoing } = windowsOf(channel);
    opened.set(outgoing.id, channel);
    channel.once('close', () => {
      if (opened.get(outgoing.id) === channel) opened.delete(outgoing.id);
    });
    for (const stream of [channel, channel.stderr] as Readable[]) {
      boundStream(stream, socket);
      const read = stream.read.bind(stream);
      stream.read = (size) => {
        const bytes = read(size);
        widenAfterRead(channel, widen);
        return bytes;
      };
    }
    update(id, channel);
  };
}

function windowsOf(channel: ClientChannel): Windows {
  return channel as unknown as Windows;
}

/** Whether so little of both streams waits to be read that the other side may send as much as the window again. */
function mayWiden(channel: ClientChannel): boolean {
  return channel.readableLength + channel.stderr.readableLength <= windowBytes;
}

/** Widens the window as ssh2 would have, had it been allowed to: nothing may arrive that would make it try again. */
function widenAfterRead(channel: ClientChannel, widen: Protocol['channelWindowAdjust']): void {
  const { incoming, outgoing } = windowsOf(channel);
  if (incoming.window > windowBytes / 2 || outgoing.state === 'closed' || !mayWiden(channel)) return;
  const bytes = windowBytes - incoming.window;
  incoming.window += bytes;
  widen(outgoing.id, bytes);
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
