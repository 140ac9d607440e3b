// One authenticated SSH connection to one target, and the channels on it.
import { randomUUID } from 'node:crypto';
import { Socket } from 'node:net';
import { performance } from 'node:perf_hooks';
import type { Duplex } from 'node:stream';
import type ssh2 from 'ssh2';
import type { ClientChannel } from 'ssh2';
import { forwardError, forwardTimedOut } from './jump-hosts.ts';
import { SshError } from './ssh-error.ts';
import { boundAnswers, boundChannels, cutOff } from './ssh2/bound-connection.ts';

export interface ForwardTo {
  host: string;
  port: number;
  /** Time for the server to connect, in ms. */
  timeoutMs: number;
}

export interface ConnectionLimits {
  /** Time for the other side to take what was sent before the connection was closed, in ms; default 5 s. */
  closeTimeoutMs?: number;
}

export interface ChannelExit {
  /** `null` if a signal ended it. */
  code: number | null;
  /** Name without SIG, reduced to a plain word whatever the server sent. */
  signal: string | undefined;
}

// RFC 4254, section 8. Input is neither echoed nor interpreted as keys, so that a script arrives unchanged.
const rawTerminal = {
  term: 'xterm',
  cols: 120,
  rows: 40,
  modes: { ECHO: 0, ICANON: 0, ISIG: 0, IEXTEN: 0, ICRNL: 0, IXON: 0, OPOST: 0 },
} satisfies ssh2.PseudoTtyOptions;

const exits = new WeakMap<ClientChannel, ChannelExit>();

/** Converts the arguments of a channel's `exit` event. The server may send any text as the name of a signal. */
export function channelExit(code: number | null, signal?: string): ChannelExit {
  if (code !== null) return { code, signal: undefined };
  return {
    code,
    signal: (signal ?? '')
      .replace(/^SIG/, '')
      .replace(/[^\w@.-]/g, '')
      .slice(0, 32),
  };
}

/** Returns how the command of a channel ended; undefined as long as its exit has not arrived. */
export function exitOf(channel: ClientChannel): ChannelExit | undefined {
  return exits.get(channel);
}

export class SshConnection {
  /** Identifies the connection in outcomes. */
  readonly id = randomUUID();
  readonly establishedAt = new Date();
  readonly cipher: string;
  readonly serverVersion: string;
  readonly hostKeyFingerprint: string;
  /** Time from dialing to being authenticated, in ms. */
  readonly latencyMs: number;
  /** Resolves when either side has ended the connection. */
  readonly closed: Promise<void>;
  #open = true;
  #heardAtMs = performance.now();
  readonly #client: ssh2.Client;
  readonly #socket: Duplex;
  readonly #closeTimeoutMs: number;
  #closeTimer: NodeJS.Timeout | undefined;
  #onClosed = () => {};

  constructor(
    client: ssh2.Client,
    socket: Duplex,
    facts: HandshakeFacts,
    { closeTimeoutMs = 5_000 }: ConnectionLimits = {},
  ) {
    this.#client = client;
    this.#socket = socket;
    this.#closeTimeoutMs = closeTimeoutMs;
    this.cipher = facts.cipher;
    this.serverVersion = facts.serverVersion;
    this.hostKeyFingerprint = facts.hostKeyFingerprint;
    this.latencyMs = facts.latencyMs;
    socket.on('data', () => {
      this.#heardAtMs = performance.now();
    });
    boundAnswers(socket);
    boundChannels(client, socket);
    this.closed = new Promise((resolve) => {
      this.#onClosed = resolve;
    });
    client.once('close', () => {
      this.#open = false;
      clearTimeout(this.#closeTimer);
      this.#onClosed();
    });
    // A broken connection reports an error and closes later; a half-closed one counts as closed at once.
    client.on('error', () => {
      this.#endInTime();
      cutOff(socket);
    });
    client.once('end', () => this.#endInTime());
  }

  get open(): boolean {
    return this.#open;
  }

  /** When anything came from the server last, on the monotonic clock; at the latest, the answer to a probe. */
  get heardAtMs(): number {
    return this.#heardAtMs;
  }

  /**
   * Starts `command` through the user's login shell. Rejects with `channel_refused` or `connection_lost`.
   *
   * @param pty starts it in a terminal, which passes every byte on unchanged until a program in it changes its mode
   */
  exec(command: string, { pty = false }: { pty?: boolean } = {}): Promise<ClientChannel> {
    return this.#channel((done) =>
      this.#client.exec(command, pty ? { pty: rawTerminal } : {}, this.#watched(done)),
    );
  }

  /** Starts a subsystem of the server by its name. Rejects with `channel_refused` or `connection_lost`. */
  subsystem(name: string): Promise<ClientChannel> {
    return this.#channel((done) => this.#client.subsys(name, this.#watched(done)));
  }

  /** Opens a stream to a port that the server connects to. Rejects with an `SshError` that says why it could not. */
  forward(to: ForwardTo): Promise<ClientChannel> {
    let isLate = false;
    let timer: NodeJS.Timeout | undefined;
    const opening = this.#channel<ClientChannel>(
      (done) =>
        this.#client.forwardOut('127.0.0.1', 0, to.host, to.port, (error, channel) => {
          if (isLate) channel?.close();
          else done(error, channel);
        }),
      (error) => forwardError(to, error),
    );
    const tooLate = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        isLate = true;
        reject(forwardTimedOut(to));
      }, to.timeoutMs);
    });
    return Promise.race([opening, tooLate]).finally(() => clearTimeout(timer));
  }

  /** Disconnects and closes the socket, with every channel on it. */
  close(): void {
    this.#endInTime();
    this.#client.end();
    if (this.#socket instanceof Socket) this.#socket.destroySoon();
    else this.#socket.destroy();
  }

  /**
   * From now on the connection counts as closed, and soon it is: the other side may take nothing more, or, if it is a jump
   * host, not confirm the end of the stream.
   */
  #endInTime(): void {
    this.#open = false;
    this.#closeTimer ??= setTimeout(() => {
      cutOff(this.#socket);
      this.#onClosed();
    }, this.#closeTimeoutMs);
  }

  /** Records how the command of the channel ends. */
  #watched(done: (error: Error | undefined, channel: ClientChannel) => void): typeof done {
    return (error, channel) => {
      // Listen at once: the exit may arrive in the same packet as the confirmation of the start.
      channel?.once('exit', (...exit: [number | null, string?]) => exits.set(channel, channelExit(...exit)));
      done(error, channel);
    };
  }

  #channel<T>(
    start: (done: (error: Error | undefined, channel: T) => void) => void,
    refusedBy: (error: unknown) => SshError = channelRefused,
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      const refuse = (error: unknown) => reject(this.#open ? refusedBy(error) : connectionLost(error));
      if (!this.#open) {
        refuse(undefined);
        return;
      }
      try {
        start((error, channel) => (error ? refuse(error) : resolve(channel)));
      } catch (error) {
        refuse(error);
      }
    });
  }
}

/** What the handshake has found out. */
export interface HandshakeFacts {
  cipher: string;
  serverVersion: string;
  hostKeyFingerprint: string;
  latencyMs: number;
}

function channelRefused(cause: unknown): SshError {
  return new SshError({
    reason: 'channel_refused',
    message: `The server refused to open a session (${cause instanceof Error ? cause.message : 'no reason given'}).`,
    advice:
      "Look at the server's MaxSessions, and at restrictions on this user (ForceCommand, Match blocks).",
    retryable: true,
    cause,
  });
}

/** Returns the error of a connection that was lost while a session was being opened on it. */
export function connectionLost(cause: unknown): SshError {
  return new SshError({
    reason: 'connection_lost',
    message: 'The connection was lost while a session was being opened.',
    advice: "Look at the network between agent and target, and at the server's log.",
    retryable: true,
    cause,
  });
}
