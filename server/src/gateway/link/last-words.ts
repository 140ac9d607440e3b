// The end of a connection that this server closes: the peer's answer to the close is waited for, but of what it says before
// that little is read. One that broke the protocol would have all that it sends read on and taken apart, for nobody.
import type { WebSocket } from 'ws';

/** What an agent has under way when it is told, of output, is more at times: it is cut off then, and has the close by that time. */
const maxBytes = 256 * 1024;
/** From when on nothing more is read: for the close to arrive. */
const lingerMs = 500;
/** For all of it; ws would wait for 30 s, and each connection of one agent's key may leave one behind. */
const answerMs = 5_000;

export interface LastWordsSocket extends Pick<WebSocket, 'pause' | 'terminate'> {
  once(event: 'close', listener: () => void): unknown;
}

export interface ReadStream {
  readonly bytesRead: number;
  on(event: 'data', listener: () => void): unknown;
  off(event: 'data', listener: () => void): unknown;
}

/** To be called when the close was sent, or is about to be. */
export function boundLastWords(socket: LastWordsSocket, stream: ReadStream): void {
  const fromBytes = stream.bytesRead;
  let timer = setTimeout(() => socket.terminate(), answerMs);
  const look = () => {
    if (stream.bytesRead - fromBytes <= maxBytes) return;
    stream.off('data', look);
    socket.pause();
    clearTimeout(timer);
    timer = setTimeout(() => socket.terminate(), lingerMs);
  };
  stream.on('data', look);
  socket.once('close', () => {
    stream.off('data', look);
    clearTimeout(timer);
  });
}
