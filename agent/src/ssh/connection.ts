// One authenticated SSH connection to one target: resolving its name, dialing, the handshake, and opening channels.
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { connect, Socket } from 'node:net';
import { performance } from 'node:perf_hooks';
import type { Duplex } from 'node:stream';
import ssh2, { type ClientChannel, type NegotiatedAlgorithms } from 'ssh2';
import { firstToAnswer } from '../dialling/first-to-answer.ts';
import type { JumpHost, OpenedCredential, StepTarget } from '../steps/step-type.ts';
import { algorithmsFor } from './algorithms.ts';
import { dialError, handshakeError } from './connect-errors.ts';
import { hostKeyFingerprint } from './host-key.ts';
import { takeCertificates } from './host-keys/certified-key-exchange.ts';
import { plainHostKey, refuseHostKey } from './host-keys/refuse-host-key.ts';
import { forwardError, forwardTimedOut, jumpHostFailed } from './jump-hosts.ts';
import { Authentication } from './login/authentication.ts';
import { takeOverGcm } from './packets/gcm-packets.ts';
import { freePacket } from './packets/packet-memory.ts';
import { copyReads, keepsReads, ReusedReads } from './packets/reused-reads.ts';
import { boundAnswers, boundChannels, cutOff } from './ssh2/bound-connection.ts';
import { limitGroup } from './ssh2/group-exchange.ts';
import { watchKeyExchanges } from './ssh2/key-exchanges.ts';
import './ssh2/server-requests.ts';
import { literalAddress, resolveTarget } from './resolve-target.ts';
import { SshError } from './ssh-error.ts';

export interface ConnectOptions {
  /** Throws an `SshError` (`credential_bounds`) if the credential may not be used with an address. */
  checkAddresses: (addresses: readonly string[]) => void | Promise<void>;
  signal?: AbortSignal;
  /** Time for one address to answer, in ms, unless the target sets it; default 10 s. */
  connectTimeoutMs?: number;
  /** Time for key exchange and authentication together, in ms; default 30 s. */
  authTimeoutMs?: number;
  /**
   * Time between probes on a silent connection, in ms, unless the target sets it; default 15 s. Three unanswered probes
   * end the connection.
   */
  keepaliveMs?: number;
  /** Time for the other side to take what was sent before the connection was closed, in ms; default 5 s. */
  closeTimeoutMs?: number;
  resolve?: (host: string) => Promise<string[]>;
  /** Reaches the last jump host of a target; by default, over a new connection for this stream. */
  reachJumpHost?: ReachJumpHost;
}

/** Connects to a jump host and returns a stream through it, which the caller closes. */
export type ReachJumpHost = (
  jump: JumpHost & { target: StepTarget },
  to: ForwardTo,
  options: ConnectOptions,
) => Promise<Duplex>;

export interface ForwardTo {
  host: string;
  port: number;
  /** Time for the server to connect, in ms. */
  timeoutMs: number;
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

  constructor(client: ssh2.Client, socket: Duplex, facts: Facts, { closeTimeoutMs = 5_000 }: Limits = {}) {
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

type Limits = Pick<ConnectOptions, 'closeTimeoutMs'>;

interface Facts {
  cipher: string;
  serverVersion: string;
  hostKeyFingerprint: string;
  latencyMs: number;
}

/**
 * Connects to a target and authenticates. Resolves its name once, has the addresses checked and dials exactly those; or
 * has its last jump host connect to it. Rejects with an `SshError`, or with the signal's reason.
 *
 * @param credential `undefined` only checks that it is the right host: it then rejects with `auth_failed` instead of
 * logging in
 */
export async function connectSsh(
  target: StepTarget,
  credential: OpenedCredential | undefined,
  options: ConnectOptions,
): Promise<SshConnection> {
  // First, because a key that can't be read needs no connection.
  const authentication = new Authentication(credential, target.algorithms);
  const withReads = { ...options, reads: new ReusedReads() };
  const { stream, startedAt } = await openPort(target, withReads);
  return handshake(target, writeTurnsWhole(stream), authentication, startedAt, withReads);
}

/** Connects to a target's port without an SSH handshake. Rejects as `connectSsh` does. */
export async function openPort(
  target: StepTarget,
  options: ConnectOptions & { reads?: ReusedReads },
): Promise<{ stream: Duplex; startedAt: number }> {
  const jump = target.jumps?.at(-1);
  if (jump !== undefined) {
    // The jump host resolves the name, so only a literal address can be checked here.
    await options.checkAddresses(literalAddress(target.host));
    const startedAt = performance.now();
    return { stream: await throughJumpHost(target, jump, options), startedAt };
  }
  const addresses = await (options.resolve ?? resolveTarget)(target.host);
  options.signal?.throwIfAborted();
  await options.checkAddresses(addresses);
  const startedAt = performance.now();
  return { stream: await dial(target, addresses, options), startedAt };
}

async function throughJumpHost(target: StepTarget, jump: JumpHost, options: ConnectOptions): Promise<Duplex> {
  const before = target.jumps?.slice(0, -1) ?? [];
  const via = { ...jump, target: { ...jump.target, ...(before.length === 0 ? {} : { jumps: before }) } };
  const { host, port } = target;
  const timeoutMs = connectTimeoutMsOf(target, options);
  const to = { host: literalAddress(host)[0] ?? host, port, timeoutMs };
  const reach = options.reachJumpHost ?? connectThrough;
  try {
    return await reach(via, to, options);
  } catch (error) {
    options.signal?.throwIfAborted();
    throw jumpHostFailed(jump.target, target, error);
  }
}

/** Opens a connection to the jump host that lives as long as the one stream through it. */
async function connectThrough(
  { target, credential, checkAddresses }: Parameters<ReachJumpHost>[0],
  to: ForwardTo,
  options: ConnectOptions,
): Promise<Duplex> {
  const connection = await connectSsh(target, credential, { ...options, checkAddresses });
  try {
    const stream = await connection.forward(to);
    stream.once('close', () => connection.close());
    return stream;
  } catch (error) {
    connection.close();
    throw error;
  }
}

/**
 * Dials the addresses in order until one answers. Rejects with the last one's `SshError`, or with the signal's reason.
 */
export function dial(
  target: Pick<StepTarget, 'host' | 'port' | 'connectTimeoutS'>,
  addresses: readonly string[],
  options: Pick<ConnectOptions, 'signal' | 'connectTimeoutMs'> & { reads?: ReusedReads },
): Promise<Socket> {
  return firstToAnswer<Socket>({
    addresses,
    connect: (address, signal) => dialAddress(target, address, { ...options, signal }),
    discard: (socket) => socket.destroy(),
    signal: options.signal,
  });
}

async function dialAddress(
  target: Pick<StepTarget, 'host' | 'port' | 'connectTimeoutS'>,
  address: string,
  options: { signal: AbortSignal; connectTimeoutMs?: number; reads?: ReusedReads },
): Promise<Socket> {
  const timeoutMs = connectTimeoutMsOf(target, options);
  // ssh2 would leave Nagle's algorithm on, which costs each exec 40 ms.
  const socket: Socket = connect({
    host: address,
    port: target.port,
    noDelay: true,
    ...(options.reads === undefined ? {} : { onread: options.reads.into(() => socket) }),
  });
  const limit = AbortSignal.timeout(timeoutMs);
  try {
    await once(socket, 'connect', { signal: AbortSignal.any([limit, options.signal]) });
    return socket;
  } catch (error) {
    socket.on('error', () => {});
    socket.destroy();
    throw dialError(target, address, error, limit.aborted ? timeoutMs : undefined);
  }
}

/**
 * Makes everything that is written in one turn of the event loop leave together, at the end of the turn. ssh2 writes
 * length, packet and tag of a message separately, and without Nagle's algorithm each would become a segment of its own.
 * Through a jump host this is a must: all ChaCha20 connections of ssh2 share buffers, and the outer connection would
 * overwrite them while the inner one is in the middle of a message.
 *
 * Output that came in the same turn goes to the server first: ssh2 answers the end of a channel in the moment it is
 * read, and each write wakes a process.
 *
 * A packet's memory is given back once it was written: on a socket, when the system has taken it; through a jump host,
 * when the outer connection has encrypted it. ssh2 passes nothing but bytes to `write`, and keeps none of them.
 */
export function writeTurnsWhole<Stream extends Duplex>(socket: Stream): Stream {
  const write = socket.write.bind(socket) as (
    bytes: Buffer,
    onWritten: (error?: Error | null) => void,
  ) => boolean;
  let corked = false;
  socket.write = (bytes: Buffer) => {
    if (!corked) {
      corked = true;
      socket.cork();
      setImmediate(() => {
        corked = false;
        socket.uncork();
      });
    }
    return write(bytes, (error) => {
      if (!error) freePacket(bytes);
    });
  };
  return socket;
}

function handshake(
  target: StepTarget,
  socket: Duplex,
  authentication: Authentication,
  startedAt: number,
  options: ConnectOptions & { reads: ReusedReads },
): Promise<SshConnection> {
  const client = new ssh2.Client();
  const authTimeoutMs = options.authTimeoutMs ?? 30_000;
  const facts: Facts = { cipher: '', serverVersion: '', hostKeyFingerprint: '', latencyMs: 0 };
  return new Promise((resolve, reject) => {
    let refused: SshError | undefined;
    let settled = false;
    const settle = (finish: () => void) => {
      if (settled) return;
      settled = true;
      options.signal?.removeEventListener('abort', onAbort);
      finish();
    };
    const fail = (error: unknown) =>
      settle(() => {
        // Later errors of the socket only repeat this failure.
        client.on('error', () => {});
        cutOff(socket);
        reject(error);
      });
    const onAbort = () => fail(options.signal?.reason);
    options.signal?.addEventListener('abort', onAbort);
    const broken = (error?: Error & { level?: string }) =>
      fail(
        refused ??
          (error?.level === 'client-authentication'
            ? authentication.failure(target.host)
            : handshakeError(target, error, facts.serverVersion, authTimeoutMs, authentication.begunFor)),
      );
    client.on('error', broken);
    client.once('close', () => broken());
    client.once('handshake', (negotiated: NegotiatedAlgorithms) => {
      facts.cipher = negotiated.cs.cipher;
      takeOverGcm(client);
      if (keepsReads(negotiated.sc.cipher)) return;
      // A server may want another cipher when keys are exchanged again.
      client.on('handshake', (next: NegotiatedAlgorithms) => {
        if (keepsReads(next.sc.cipher)) copyReads(client);
      });
      options.reads.reuse();
      // Registered after ssh2, which has decrypted the jump host's packet once more by then.
      if (target.jumps !== undefined) socket.on('data', freePacket);
    });
    client.once('change password', () => fail(passwordExpired(target)));
    client.once('ready', () =>
      settle(() => {
        facts.latencyMs = Math.round(performance.now() - startedAt);
        client.removeAllListeners('error');
        client.removeAllListeners('close');
        resolve(new SshConnection(client, socket, facts, options));
      }),
    );
    client.connect({
      sock: socket,
      username: 'unused',
      readyTimeout: authTimeoutMs,
      keepaliveInterval: msOf(target.keepaliveIntervalS) ?? options.keepaliveMs ?? 15_000,
      keepaliveCountMax: 3,
      algorithms: algorithmsFor(target),
      hostVerifier: (key: Buffer) => {
        facts.hostKeyFingerprint = hostKeyFingerprint(plainHostKey(key));
        refused = refuseHostKey(target.host, key, target);
        return refused === undefined;
      },
      authHandler: (allowed, partial) => authentication.next(allowed, partial) as never,
    });
    watchKeyExchanges(client, (exchange) => {
      limitGroup(exchange, { legacy: target.algorithms === 'legacy' });
      takeCertificates(exchange);
    });
    authentication.attach(client);
    // After connect(), which pauses the socket. With an earlier listener ssh2 would miss the first bytes.
    socket.once('data', (bytes: Buffer) => {
      facts.serverVersion = identification(bytes);
    });
    if (options.signal?.aborted) onAbort();
  });
}

function connectTimeoutMsOf(
  { connectTimeoutS }: Pick<StepTarget, 'connectTimeoutS'>,
  { connectTimeoutMs = 10_000 }: Pick<ConnectOptions, 'connectTimeoutMs'>,
): number {
  return msOf(connectTimeoutS) ?? connectTimeoutMs;
}

function msOf(seconds: number | undefined): number | undefined {
  return seconds === undefined ? undefined : seconds * 1_000;
}

/** Returns the server's identification (RFC 4253, section 4.2), skipping the lines of a greeting before it. */
export function identification(bytes: Buffer): string {
  const line = bytes
    .toString('latin1', 0, 8192)
    .split(/\r?\n/)
    .find((candidate) => candidate.startsWith('SSH-'));
  return line ? line.replace(/[^\x20-\x7e]/g, '').slice(0, 255) : '';
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

export function connectionLost(cause: unknown): SshError {
  return new SshError({
    reason: 'connection_lost',
    message: 'The connection was lost while a session was being opened.',
    advice: "Look at the network between agent and target, and at the server's log.",
    retryable: true,
    cause,
  });
}

function passwordExpired(target: StepTarget): SshError {
  return new SshError({
    reason: 'auth_failed',
    message: `${target.host} wants the password to be changed before it lets the user in.`,
    advice: 'Change the password on the host and store the credential again.',
  });
}
