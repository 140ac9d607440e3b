// Keeps one connection to a server for as long as the agent lives: connects, lets a session be held on it, and
// reconnects when it ends.
import { closeCodes } from '@opsconductor/protocol';
import type { WebSocket } from 'ws';
import { explainReachError } from '../explain-error.ts';
import type { Logger } from '../log.ts';
import type { Backoff } from './backoff.ts';
import { HandshakeError } from './handshake.ts';
import { MessageSocket, type SocketEnd } from './message-socket.ts';
import { explainClose, wasAnswered } from './open-socket.ts';
import type { ProxySettings } from './proxy.ts';

export interface ConnectionOptions {
  server: string;
  /** The proxy that `open` uses, for error messages. */
  proxy?: ProxySettings | undefined;
  open(): WebSocket;
  /** Holds a session on an open socket until it ends. Rejects if the handshake fails. */
  hold(socket: MessageSocket): Promise<void>;
  backoff: Backoff;
  /** Waits this long, or until the signal is aborted. Never rejects. */
  wait(ms: number, signal: AbortSignal): Promise<void>;
  /** Called with how each connection ended. Never rejects. */
  onEnd?(end: SocketEnd): Promise<void>;
  log: Logger;
}

export class Connection {
  readonly #options: ConnectionOptions;
  readonly #stop = new AbortController();
  #socket: MessageSocket | undefined;

  constructor(options: ConnectionOptions) {
    this.#options = options;
  }

  /** Runs until stopped, or until the server has quarantined this agent. */
  async run(): Promise<'stopped' | 'quarantined'> {
    const { backoff, wait, log } = this.#options;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const end = await this.#once();
      await this.#options.onEnd?.(end);
      if (signal.aborted) break;
      if (end.code === closeCodes.quarantined) {
        log.fatal(`stopping, as this agent is quarantined: ${explainClose(end.code, end.reason)}`);
        return 'quarantined';
      }
      const delayMs = backoff.nextDelayMs(end.code, wasAnswered(end));
      log.warn({ retryInMs: Math.round(delayMs) }, `not connected to the server: ${this.#explain(end)}`);
      await wait(delayMs, signal);
    }
    return 'stopped';
  }

  /** Closes the connection permanently. The socket is gone when `run` resolves. */
  stop(): void {
    this.#stop.abort();
    this.#socket?.close(1000, 'the agent stops');
  }

  async #once(): Promise<SocketEnd> {
    const socket = new MessageSocket(this.#options.open());
    this.#socket = socket;
    let failure: Error | undefined;
    try {
      await socket.opened;
      await this.#options.hold(socket);
    } catch (error) {
      failure = error instanceof Error ? error : new Error(String(error));
      if (error instanceof HandshakeError) socket.close(error.closeCode, error.message);
      else socket.terminate();
    }
    const end = await socket.ended;
    this.#socket = undefined;
    return { ...end, error: end.error ?? failure };
  }

  #explain({ code, reason, error }: SocketEnd): string {
    if (error instanceof HandshakeError) return `${this.#options.server}: ${error.message}`;
    if (code !== undefined) return explainClose(code, reason);
    if (error === undefined) return 'The connection to the server was lost.';
    const { message, fix } = explainReachError(error, this.#options.server, this.#options.proxy);
    return `${message} ${fix}`;
  }
}
