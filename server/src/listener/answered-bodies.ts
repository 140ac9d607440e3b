// What is still to come of requests that are answered already. Some clients send all of it before they read the answer, so it is
// read on for a moment, dropped, and the connection ended, as the answer has said. That of all together has a pace: who pours would keep this server
// at nothing else.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

export interface AnsweredBodyLimits {
  /** Of one. */
  mostBytes: number;
  /** Of all of them in each `everyMs`. */
  bytesATime: number;
  everyMs: number;
  /** From the answer to the end. */
  endAfterMs: number;
}

export const answeredBodyLimits: AnsweredBodyLimits = {
  mostBytes: 8 * 1024 * 1024,
  bytesATime: 256 * 1024,
  everyMs: 10,
  endAfterMs: 500,
};
/** A body that says that it is no longer than this may come after its answer, and its connection be kept. */
const smallBytes = 64 * 1024;
/** As much as one read takes. */
const pieceBytes = 64 * 1024;

interface Body {
  socket: Socket;
  leftBytes: number;
  /** Until it has to wait again. */
  grantedBytes: number;
  /** Nothing of it was read on yet. */
  isStopped: boolean;
}

export class AnsweredBodies {
  readonly #limits: AnsweredBodyLimits;
  /** Those that are not read just now, who has waited longest first. */
  readonly #waiting = new Set<Body>();
  #timer: NodeJS.Timeout | undefined;

  constructor(limits = answeredBodyLimits) {
    this.#limits = limits;
  }

  /** From before its answer begins. */
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
    // Parsed no more: that would cost something for each byte, and Node would have it read on where we do not.
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
 * It seems to be reading, though Node has stopped that where the body was not taken: this says that nothing comes of it. Not before
 * its turn, as Node reads ahead from then on: a piece of each, whatever the pace.
 */
function startReading(body: Body): void {
  body.isStopped = false;
  body.socket.push(Buffer.alloc(0));
}

/** Whoever would use the connection again has to know that it can't. */
function sayEnd(request: IncomingMessage, answer: ServerResponse): void {
  const { socket } = request;
  answer.shouldKeepAlive = false;
  // By this Node ends such a connection at once, and where more comes then the client loses the answer.
  socket.destroySoon = () => {
    Reflect.deleteProperty(socket, 'destroySoon');
    if (request.complete) socket.destroySoon();
  };
}

function isSmall({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] === undefined && Number(headers['content-length'] ?? 0) <= smallBytes;
}
