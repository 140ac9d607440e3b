// Bounds the end of a connection that this server closes. The peer's answer to the close is waited for, but little of
// what it sends before that is read: a peer that broke the protocol could otherwise make the server go on reading and
// parsing, for nobody.
import type { WebSocket } from 'ws';

/**
 * Bytes that are read after the close was sent. Output that an agent has in flight may be more: then the agent is cut
 * off, but by then it has the close.
 */
const maxBytes = 256 * 1024;
/** Time for the close to arrive, once nothing more is read, in ms. */
const lingerMs = 500;
/**
 * Time for the whole ending, in ms. ws would wait 30 s, and every connection made with an agent's key could leave one
 * behind.
 */
const answerMs = 5_000;

export interface LastWordsSocket extends Pick<WebSocket, 'pause' | 'terminate'> {
  once(event: 'close', listener: () => void): unknown;
}

export interface ReadStream {
  readonly bytesRead: number;
  on(event: 'data', listener: () => void): unknown;
  off(event: 'data', listener: () => void): unknown;
}

/** Call this when the close was sent or is about to be. */
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
