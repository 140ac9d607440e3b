// The rest of request bodies whose requests are already answered. Some clients send the whole body before they read the
// answer, so the rest is read for a moment and dropped; then the connection ends, as the answer has said. All such
// bodies together are read at a limited pace, because a flood would otherwise keep this server busy with nothing else.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

export interface AnsweredBodyLimits {
  /** Limit for one body. */
  mostBytes: number;
  /** Limit for all bodies together, in each `everyMs`. */
  bytesATime: number;
  everyMs: number;
  /** Time from the answer to the end of the connection. */
  endAfterMs: number;
}

export const answeredBodyLimits: AnsweredBodyLimits = {
  mostBytes: 8 * 1024 * 1024,
  bytesATime: 256 * 1024,
  everyMs: 10,
  endAfterMs: 500,
};
/** A body with a declared length of at most this may arrive after its answer, and its connection is kept. */
const smallBytes = 64 * 1024;
/** Size of one read. */
const pieceBytes = 64 * 1024;

interface Body {
  socket: Socket;
  leftBytes: number;
  /** How much may be read before it has to wait again. */
  grantedBytes: number;
  /** Reading has not been started again yet. */
  isStopped: boolean;
}

export class AnsweredBodies {
  readonly #limits: AnsweredBodyLimits;
  /** Bodies that are not being read at the moment, the longest waiting first. */
  readonly #waiting = new Set<Body>();
  #timer: NodeJS.Timeout | undefined;

  constructor(limits = answeredBodyLimits) {
    this.#limits = limits;
  }

  /** Call it before the answer begins. */
  watch(request: IncomingMessage, answer: ServerResponse): void {
    if (isSmall(request)) return;
    const { writeHead } = answer;
    answer.writeHead = ((...head: Parameters<typeof writeHead>) => {
      if (!request.complete) sayEnd(request, answer);
      return writeHead.apply(answer, head);
    }) as typeof writeHead;
    answer.once('finish', () => this.#readOn(request));
  }

  #readOn(request: IncomingMessage): void {
    if (request.complete || request.destroyed) return;
    const { socket } = request;
    const body: Body = { socket, leftBytes: this.#limits.mostBytes, grantedBytes: 0, isStopped: true };
    const ofHttp = socket.listeners('data');
    socket.on('data', (piece: Buffer) => {
      body.leftBytes -= piece.length;
      body.grantedBytes -= piece.length;
      if (body.grantedBytes <= 0) this.#wait(body);
    });
    // No longer parsed: that would cost something for each byte, and Node would continue to read when we don't.
    for (const listener of ofHttp) socket.off('data', listener as () => void);
    this.#wait(body);
    socket.end();
    const end = setTimeout(() => socket.destroy(), this.#limits.endAfterMs).unref();
    socket.once('close', () => clearTimeout(end));
  }

  #wait(body: Body): void {
    body.socket.pause();
    if (body.leftBytes <= 0) return;
    this.#waiting.add(body);
    this.#timer ??= setTimeout(this.#readSome, this.#limits.everyMs).unref();
  }

  readonly #readSome = () => {
    const { bytesATime, everyMs } = this.#limits;
    const share = Math.max(pieceBytes, bytesATime / this.#waiting.size);
    let left = bytesATime;
    for (const body of this.#waiting) {
      this.#waiting.delete(body);
      if (body.socket.destroyed) continue;
      body.grantedBytes = share;
      if (body.isStopped) startReading(body);
      body.socket.resume();
      left -= share;
      if (left < share) break;
    }
    this.#timer = this.#waiting.size > 0 ? setTimeout(this.#readSome, everyMs).unref() : undefined;
  };
}

/**
 * The stream believes that a read is under way, although Node has stopped reading if nothing consumed the body. An
 * empty push ends that read. Not before the body's turn, because from then on Node reads ahead: a piece of each body,
 * whatever the pace.
 */
function startReading(body: Body): void {
  body.isStopped = false;
  body.socket.push(Buffer.alloc(0));
}

/** Announces the end of the connection, so that the client does not try to use it again. */
function sayEnd(request: IncomingMessage, answer: ServerResponse): void {
  const { socket } = request;
  answer.shouldKeepAlive = false;
  // Node calls this to end the connection at once. If more data arrives after that, the client loses the answer.
  socket.destroySoon = () => {
    Reflect.deleteProperty(socket, 'destroySoon');
    if (request.complete) socket.destroySoon();
  };
}

function isSmall({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] === undefined && Number(headers['content-length'] ?? 0) <= smallBytes;
}
