// Connecting to a target over SSH: resolving its name, dialing it or having a jump host do so, and the handshake.
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { performance } from 'node:perf_hooks';
import type { Duplex } from 'node:stream';
import ssh2, { type NegotiatedAlgorithms } from 'ssh2';
import { firstToAnswer } from '../dialling/first-to-answer.ts';
import type { JumpHost, OpenedCredential, StepTarget } from '../steps/step-type.ts';
import { algorithmsFor } from './algorithms.ts';
import { dialError, handshakeError } from './connect-errors.ts';
import { type ConnectionLimits, type ForwardTo, type HandshakeFacts, SshConnection } from './connection.ts';
import { hostKeyFingerprint } from './host-key.ts';
import { takeCertificates } from './host-keys/certified-key-exchange.ts';
import { plainHostKey, refuseHostKey } from './host-keys/refuse-host-key.ts';
import { jumpHostFailed } from './jump-hosts.ts';
import { Authentication } from './login/authentication.ts';
import { takeOverGcm } from './packets/gcm-packets.ts';
import { freePacket } from './packets/packet-memory.ts';
import { copyReads, keepsReads, ReusedReads } from './packets/reused-reads.ts';
import { cutOff } from './ssh2/bound-connection.ts';
import { limitGroup } from './ssh2/group-exchange.ts';
import { watchKeyExchanges } from './ssh2/key-exchanges.ts';
import './ssh2/server-requests.ts';
import { literalAddress, resolveTarget } from './resolve-target.ts';
import { SshError } from './ssh-error.ts';

export interface ConnectOptions extends ConnectionLimits {
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
  const port = await openPort(target, withReads);
  return handshake(target, port, authentication, withReads);
}

interface OpenPort {
  stream: Duplex;
  /** When dialing began, on the monotonic clock. */
  startedAt: number;
}

/** Connects to a target's port without an SSH handshake. Rejects as `connectSsh` does. */
export async function openPort(
  target: StepTarget,
  options: ConnectOptions & { reads?: ReusedReads },
): Promise<OpenPort> {
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
  { stream, startedAt }: OpenPort,
  authentication: Authentication,
  options: ConnectOptions & { reads: ReusedReads },
): Promise<SshConnection> {
  const socket = writeTurnsWhole(stream);
  const client = new ssh2.Client();
  const authTimeoutMs = options.authTimeoutMs ?? 30_000;
  const facts: HandshakeFacts = { cipher: '', serverVersion: '', hostKeyFingerprint: '', latencyMs: 0 };
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
            : handshakeError(target, error, {
                serverVersion: facts.serverVersion,
                timeoutMs: authTimeoutMs,
                user: authentication.begunFor,
              })),
      );
    client.on('error', broken);
    client.once('close', () => broken());
    client.once('handshake', (negotiated: NegotiatedAlgorithms) => {
      facts.cipher = negotiated.cs.cipher;
      takeOverPackets(client, negotiated, options.reads);
      // Registered after ssh2, which has decrypted the jump host's packet once more by then.
      if (target.jumps !== undefined && !keepsReads(negotiated.sc.cipher)) socket.on('data', freePacket);
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

/** Has packets encrypted by our own code, and reads share their memory, as far as the cipher allows it. */
function takeOverPackets(client: ssh2.Client, negotiated: NegotiatedAlgorithms, reads: ReusedReads): void {
  takeOverGcm(client);
  if (keepsReads(negotiated.sc.cipher)) return;
  // A server may want another cipher when keys are exchanged again.
  client.on('handshake', (next: NegotiatedAlgorithms) => {
    if (keepsReads(next.sc.cipher)) copyReads(client);
  });
  reads.reuse();
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

function passwordExpired(target: StepTarget): SshError {
  return new SshError({
    reason: 'auth_failed',
    message: `${target.host} wants the password to be changed before it lets the user in.`,
    advice: 'Change the password on the host and store the credential again.',
  });
}
