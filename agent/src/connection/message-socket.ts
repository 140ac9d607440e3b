// A WebSocket that speaks this protocol: validated messages in, control messages and binary frames out. During the
// handshake messages are asked for one by one; afterwards they go to a handler.
import type { Socket } from 'node:net';
import { type AgentMessage, closeCodes, type ServerMessage } from '@opsconductor/protocol';
import type { WebSocket } from 'ws';
import { parseServerMessage } from './server-messages.ts';

export interface SocketEnd {
  /** From the close frame; undefined if the connection broke or never came about. */
  code: number | undefined;
  reason: string;
  /** Whether the server closed it, with that code. */
  byServer: boolean;
  /** Whether there was a WebSocket at all. */
  opened: boolean;
  /** Why there was no connection, or why it broke. */
  error: Error | undefined;
}

/** How long the server may take to answer our close frame. */
const closePatienceMs = 1_000;

interface Expectation {
  maxBytes: number;
  resolve(message: ServerMessage): void;
  reject(error: Error): void;
}

export class MessageSocket {
  readonly opened: Promise<void>;
  /** Resolves once, when the socket has closed for whatever reason. */
  readonly ended: Promise<SocketEnd>;
  readonly #ws: WebSocket;
  #stream: Socket | undefined;
  #expectation: Expectation | undefined;
  #early: { message: ServerMessage; bytes: number }[] = [];
  #corked = false;
  #clockSkewMs: number | undefined;
  #handler: ((message: ServerMessage) => void) | undefined;
  #opened = false;
  #error: Error | undefined;
  /** Why no message comes any more. */
  #gone: Error | undefined;
  #serverCode: number | undefined;
  #closing: NodeJS.Timeout | undefined;
  #closedBecause: { code: number; reason: string } | undefined;

  constructor(ws: WebSocket) {
    this.#ws = ws;
    ws.on('upgrade', (response) => {
      this.#stream = response.socket;
      this.#stream.setNoDelay(true);
      const serverTimeMs = Date.parse(response.headers.date ?? '');
      if (!Number.isNaN(serverTimeMs)) this.#clockSkewMs = Date.now() - serverTimeMs;
    });
    ws.on('message', (data, isBinary) => this.#receive(data as Buffer, isBinary));
    this.opened = new Promise((resolve, reject) => {
      ws.once('open', () => {
        this.#opened = true;
        resolve();
      });
      ws.once('close', () =>
        reject(this.#error ?? new Error('The connection was closed before it was open')),
      );
    });
    this.opened.catch(() => undefined); // `ended` reports it too; not everybody waits for both
    this.ended = new Promise((resolve) => {
      ws.on('error', (error) => {
        this.#error ??= error;
      });
      ws.once('close', (code, reason) => {
        clearTimeout(this.#closing);
        // 1005 and 1006 stand for a missing close frame, RFC 6455 section 7.4.1
        const named = code !== 1005 && code !== 1006;
        this.#serverCode = named && this.#closedBecause === undefined ? code : undefined;
        const end = this.#closedBecause ?? {
          code: named ? code : undefined,
          reason: named ? reason.toString('utf8') : '',
        };
        this.#gone = this.#error ?? new Error(`The server closed the connection (${code})`);
        this.#expectation?.reject(this.#gone);
        this.#expectation = undefined;
        const byServer = this.#serverCode !== undefined;
        resolve({ ...end, byServer, opened: this.#opened, error: this.#error });
      });
    });
  }

  /** The close code that the server sent; undefined if it did not close the connection. */
  get serverCode(): number | undefined {
    return this.#serverCode;
  }

  /** By how much the clock of this machine was ahead of the server's; undefined if the server told no time. */
  get clockSkewMs(): number | undefined {
    return this.#clockSkewMs;
  }

  /** Returns the next message. Rejects if none comes in time, if it is too large, or if the socket has closed. */
  next({ timeoutMs, maxBytes }: { timeoutMs: number; maxBytes: number }): Promise<ServerMessage> {
    if (this.#gone !== undefined && this.#early.length === 0) return Promise.reject(this.#gone);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => this.#expectation?.reject(new Error(`The server said nothing for ${timeoutMs} ms`)),
        timeoutMs,
      );
      const done = () => {
        clearTimeout(timer);
        this.#expectation = undefined;
      };
      this.#expectation = {
        maxBytes,
        resolve: (message) => {
          done();
          resolve(message);
        },
        reject: (error) => {
          done();
          reject(error);
        },
      };
      const early = this.#early.shift();
      if (early !== undefined) this.#answer(early.message, early.bytes);
    });
  }

  /** From here on messages go to the handler, beginning with those that have arrived in the meantime. */
  handle(handler: (message: ServerMessage) => void): void {
    this.#handler = handler;
    for (const { message } of this.#early.splice(0)) handler(message);
  }

  /** Sends a message. Messages of one turn of the event loop leave in one write. */
  send(message: AgentMessage): void {
    if (!this.open) return;
    if (!this.#corked) {
      this.#corked = true;
      this.cork();
      process.nextTick(() => {
        this.#corked = false;
        this.uncork();
      });
    }
    this.#ws.send(JSON.stringify(message));
  }

  /** Sends a binary frame; the buffer must not change afterwards. */
  sendFrame(frame: Buffer, onWritten: () => void): void {
    if (this.open) this.#ws.send(frame, { binary: true }, onWritten);
  }

  /** Holds small writes together until `uncork`. */
  cork(): void {
    this.#stream?.cork();
  }

  uncork(): void {
    this.#stream?.uncork();
  }

  get open(): boolean {
    return this.#ws.readyState === this.#ws.OPEN;
  }

  /** Bytes that were sent and have not left this process. */
  get bufferedBytes(): number {
    return this.#ws.bufferedAmount;
  }

  /** Closes with our own code, which `ended` reports. If the server doesn't answer, the connection is broken soon. */
  close(code: number, reason: string): void {
    this.#closedBecause ??= { code, reason };
    this.#ws.close(code, Buffer.from(reason).subarray(0, 120).toString('utf8'));
    // `ws` would wait for 30 s, which is longer than leases live.
    if (this.#ws.readyState !== this.#ws.CLOSED)
      this.#closing ??= setTimeout(() => this.#ws.terminate(), closePatienceMs);
  }

  /** Breaks the connection without a close frame, because the other side seems to be gone. */
  terminate(): void {
    this.#ws.terminate();
  }

  #receive(data: Buffer, isBinary: boolean): void {
    if (this.#closedBecause !== undefined) return;
    const parsed = isBinary
      ? ({ ok: false, fault: 'a binary frame' } as const)
      : parseServerMessage(data.toString('utf8'));
    if (!parsed.ok) {
      this.close(closeCodes.invalidMessage, parsed.fault);
      return;
    }
    if (this.#handler !== undefined) this.#handler(parsed.message);
    else if (this.#expectation !== undefined) this.#answer(parsed.message, data.length);
    else this.#early.push({ message: parsed.message, bytes: data.length });
  }

  #answer(message: ServerMessage, bytes: number): void {
    const expectation = this.#expectation;
    if (expectation === undefined) return;
    if (bytes <= expectation.maxBytes) expectation.resolve(message);
    else
      expectation.reject(
        new Error(`The server sent ${bytes} bytes where ${expectation.maxBytes} are allowed`),
      );
  }
}
