// Warm connections, shared by all attempts on one target with one credential. A channel is handed out before anything
// is sent on it, so a connection that turns out to be dead or full costs another try, but never a command.
import type { Duplex } from 'node:stream';
import type { OpenedCredential, StepTarget } from '../../steps/step-type.ts';
import { abortable } from '../../timing/abortable.ts';
import { type ConnectOptions, connectSsh, openPort, type ReachJumpHost } from '../connect.ts';
import type { SshConnection } from '../connection.ts';
import { SshError } from '../ssh-error.ts';
import { connectionKey } from './connection-key.ts';
import { PooledConnection } from './pooled-connection.ts';
import { Rush, type RushOptions } from './rush.ts';
import { type Closable, closeChannel, type Start } from './spare-channel.ts';
import { WaitingRequests } from './waiting-requests.ts';

export interface SshPoolOptions {
  /** Limit on all connections; default 500. */
  maxConnections?: number;
  /** Limit on connections to one target with one credential; default 8. */
  maxConnectionsPerTarget?: number;
  /** Limit on channels of one connection; default 10, as sshd's MaxSessions. */
  maxChannels?: number;
  /** Limit on streams through one connection to a jump host; default 64. */
  maxForwards?: number;
  /** How long an unused connection or a spare channel is kept, in ms; default 60 s. */
  idleMs?: number;
  /**
   * How many channels opened how fast make a rush; during one, spares are opened only if requests follow one another.
   */
  rush?: RushOptions;
  /**
   * A request that comes within this time of the last one's end is said to follow it, in ms; default 1 s. The next step
   * of a run comes after a round trip to the server.
   */
  seriesGapMs?: number;
  /** Time for a server to open a channel that nobody waits for any more, in ms; default 30 s. */
  lateChannelMs?: number;
  connect?: Omit<ConnectOptions, 'checkAddresses' | 'signal' | 'reachJumpHost'>;
}

export interface OpenRequest {
  target: StepTarget;
  credential: OpenedCredential;
  checkAddresses: ConnectOptions['checkAddresses'];
  /** Stops waiting; the connection itself is kept if others wait for it. */
  signal?: AbortSignal;
  /** Whether the target is used as a jump host; its connections are kept separate from those that commands run on. */
  isJumpHost?: boolean;
  /** Ignores the limits on connections. For stopping what already runs. */
  urgent?: boolean;
  /** Opens a new connection even if there is a warm one. For when that one doesn't answer. */
  fresh?: boolean;
  /** Opens a new channel even if there is a spare. For when the spare was found to be gone. */
  ownChannel?: boolean;
  /**
   * The caller has another way to do the same on this login. Otherwise a login on which the channel can't be started is
   * no good, and nothing new begins on it.
   */
  hasOtherWay?: boolean;
  /** Identifies the request; a channel that `reserve` kept under this name is used for it, and for no other request. */
  name?: string;
}

export interface PooledChannel<Channel> {
  channel: Channel;
  connection: SshConnection;
  /** Whether the connection was opened for an earlier request. */
  reused: boolean;
  /** Whether the channel was a spare, opened in advance: its other end may have gone since. */
  prepared: boolean;
  /** Whether `reserve` had kept the channel for this request, and `tell` was called on it. */
  reserved: boolean;
  /**
   * Opens a spare channel for the next request with the same `start`: at once if requests follow one another on this
   * connection, otherwise when no rush is on. Best effort. `watch` must call `gone` as soon as that channel has become
   * useless. `startSpare` opens it if there is a better way to do that in advance.
   */
  prepareNext(
    watch: (channel: Channel, gone: () => boolean) => void,
    startSpare?: Start<SshConnection, Channel>,
  ): void;
  /**
   * Lets nothing new begin on the connection. For one whose login is no good: the shell, groups, limits and a password
   * that has expired are as they were when it logged in, whatever has been mended since.
   */
  retire(): void;
  /** Frees the channel's place. Call it once the channel is closed; calling it again does nothing. */
  release(): void;
}

/** Which spare channels can serve a request. */
interface Ahead {
  /** Undefined if the request wants a channel of its own. */
  start: unknown;
  name: string | undefined;
}

export class SshPool {
  readonly #options: Required<Omit<SshPoolOptions, 'connect' | 'rush'>>;
  readonly #connect: SshPoolOptions['connect'];
  readonly #connections = new Map<string, Set<PooledConnection>>();
  readonly #waiting = new WaitingRequests();
  readonly #rush: Rush;
  #count = 0;
  #closed = false;

  constructor(options: SshPoolOptions = {}) {
    this.#options = {
      maxConnections: options.maxConnections ?? 500,
      maxConnectionsPerTarget: options.maxConnectionsPerTarget ?? 8,
      maxChannels: options.maxChannels ?? 10,
      maxForwards: options.maxForwards ?? 64,
      idleMs: options.idleMs ?? 60_000,
      seriesGapMs: options.seriesGapMs ?? 1_000,
      lateChannelMs: options.lateChannelMs ?? 30_000,
    };
    this.#connect = options.connect;
    this.#rush = new Rush(options.rush);
  }

  /** Number of connections that are open or being opened. */
  get connections(): number {
    return this.#count;
  }

  /** Whether the pool is closed, so that nothing more can be opened. */
  get isClosed(): boolean {
    return this.#closed;
  }

  /**
   * Opens a channel with `start` on a warm connection, or on a new one. Rejects with an `SshError` that means
   * "nothing was started", or with the signal's reason.
   */
  async open<Channel extends Closable>(
    request: OpenRequest,
    start: Start<SshConnection, Channel>,
  ): Promise<PooledChannel<Channel>> {
    const key = `${request.isJumpHost === true ? 'through' : 'at'} ${connectionKey(request.target, request.credential)}`;
    let deadSeen = false;
    let refusedSeen = false;
    for (;;) {
      request.signal?.throwIfAborted();
      const ahead = request.ownChannel === true ? undefined : start;
      const { pooled, reused } = await this.#place(key, request, { start: ahead, name: request.name });
      this.#rush.arrive();
      let connection: SshConnection;
      try {
        connection = await abortable(pooled.connecting, request.signal);
      } catch (error) {
        this.#release(pooled);
        throw error;
      }
      const spare = pooled.takeSpare(ahead, request.name);
      const opening = spare?.opening ?? start(connection);
      try {
        const channel = await abortable(opening, request.signal);
        return {
          channel,
          connection,
          reused,
          prepared: spare !== undefined,
          reserved: spare?.isReserved === true,
          prepareNext: (watch, startSpare) => pooled.prepareNext(start, watch, startSpare),
          retire: () => pooled.retire(),
          release: once(() => this.#release(pooled)),
        };
      } catch (error) {
        if (request.signal?.aborted) {
          this.#releaseLate(pooled, opening);
          throw error;
        }
        const others = pooled.channels - 1 + pooled.spares;
        // Before the place is freed: with its last place, a retired connection is closed.
        const wasLost = !connection.open;
        this.#release(pooled);
        if (wasLost) {
          this.#discard(pooled);
          // A warm connection may have died unnoticed; if a fresh one dies, the problem is the target.
          if (deadSeen || !reused) throw lostBeforeStart(request.target, error);
          deadSeen = true;
          continue;
        }
        if (!(error instanceof SshError) || error.reason !== 'channel_refused') {
          if (error instanceof SshError) this.#doubt(pooled, request);
          throw error;
        }
        if (others > 0) {
          pooled.limitTo(others);
          continue;
        }
        // A server that allows one session may still count the one just closed, but a fresh connection has had none.
        if (refusedSeen || !reused) {
          this.#doubt(pooled, request);
          throw error;
        }
        refusedSeen = true;
        this.#discard(pooled);
      }
    }
  }

  /**
   * Keeps the spare channel that was opened with `start` to this target for the request of that name, and calls `tell`
   * on it. Does nothing if one is kept for it already, and if there is no such channel, or one on more than one
   * connection: they may be with several credentials, and which of them the request will use is not known yet.
   */
  reserve<Channel extends Closable>(
    { targetId, name }: { targetId: number; name: string },
    start: Start<SshConnection, Channel>,
    tell: (channel: Channel) => void,
  ): void {
    if (this.hasReserved(name)) return;
    const fit = [...this.#all()].filter(
      (pooled) => pooled.targetId === targetId && pooled.hasSpareFor(start, undefined),
    );
    if (fit.length === 1) fit[0]?.reserveSpare(name, tell as (channel: Closable) => void);
  }

  /** Whether a spare channel is kept for the request of that name. */
  hasReserved(name: string): boolean {
    return [...this.#all()].some((pooled) => pooled.hasReserved(name));
  }

  /** Closes the spare channel that is reserved under this name, if the request has not taken it. */
  dropReserved(name: string): void {
    for (const pooled of this.#all()) pooled.dropReserved(name);
  }

  /** Checks that a target's port accepts connections. Rejects with an `SshError` if not. */
  async probe(request: Pick<OpenRequest, 'target' | 'checkAddresses'>, signal: AbortSignal): Promise<void> {
    const stream = await this.reach(request, { signal });
    stream.on('error', () => {});
    stream.destroy();
  }

  /**
   * Opens a stream to a target's port; the caller closes it. Rejects with an `SshError`, or with the signal's reason.
   */
  async reach(
    { target, checkAddresses }: Pick<OpenRequest, 'target' | 'checkAddresses'>,
    options: Pick<ConnectOptions, 'signal' | 'connectTimeoutMs'>,
  ): Promise<Duplex> {
    const reachJumpHost = this.#reachJumpHost;
    const { stream } = await openPort(target, {
      ...this.#connect,
      ...options,
      checkAddresses,
      reachJumpHost,
    });
    return stream;
  }

  /**
   * Lets nothing new begin on the existing connections, whose addresses were checked under rules that no longer apply.
   * Commands that run on them continue and may be stopped over them; when the last one ends, the connection is closed.
   */
  retire(): void {
    for (const pooled of [...this.#all()]) pooled.retire();
  }

  /**
   * Lets nothing new begin on the connections to this target with this credential: their login has shown to be no good,
   * and may have been mended since.
   */
  retireLogins({ target, credential }: Pick<OpenRequest, 'target' | 'credential'>): void {
    const own = this.#connections.get(`at ${connectionKey(target, credential)}`);
    for (const pooled of [...(own ?? [])]) pooled.retire();
  }

  /** Closes every connection, with the channels on it. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#rush.leaveAll();
    const all = [...this.#all()];
    for (const pooled of all) this.#discard(pooled);
    this.#waiting.wakeAll();
    await Promise.allSettled(all.map(({ connecting }) => connecting.then((connection) => connection.closed)));
  }

  /** Takes a place on a connection, waiting for one if the limits are reached. */
  async #place(
    key: string,
    request: OpenRequest,
    ahead: Ahead,
  ): Promise<{ pooled: PooledConnection; reused: boolean }> {
    for (;;) {
      if (this.#closed) throw poolClosed();
      const own = this.#connections.get(key);
      // Stopping what already runs doesn't count as beginning something new.
      const mayUseRetired = request.urgent === true && request.isJumpHost !== true;
      const fit = [...(own ?? [])].filter(({ isRetired }) => !isRetired || mayUseRetired);
      const free = request.fresh ? undefined : freeConnection(fit, ahead);
      if (free) {
        free.take();
        return { pooled: free, reused: true };
      }
      const most = request.target.maxConnections ?? this.#options.maxConnectionsPerTarget;
      if (request.urgent || ((own?.size ?? 0) < most && this.#makeRoom())) {
        return { pooled: this.#add(key, request), reused: false };
      }
      await this.#waiting.wait(key, request.signal);
    }
  }

  #add(key: string, request: OpenRequest): PooledConnection {
    const { maxForwards, maxChannels, idleMs, seriesGapMs } = this.#options;
    const pooled: PooledConnection = new PooledConnection({
      key,
      targetId: request.target.id,
      idleMs,
      seriesGapMs,
      rush: this.#rush,
      connect: (signal) =>
        connectSsh(request.target, request.credential, {
          ...this.#connect,
          checkAddresses: request.checkAddresses,
          signal,
          reachJumpHost: this.#reachJumpHost,
        }),
      maxChannels: request.isJumpHost === true ? maxForwards : maxChannels,
      onOver: () => this.#discard(pooled),
    });
    const own = this.#connections.get(key) ?? new Set();
    this.#connections.set(key, own.add(pooled));
    this.#count += 1;
    return pooled;
  }

  /**
   * Reaches a jump host over a shared connection, which carries many others. It ignores the limit on all connections:
   * the request that waits for it already counts as a connection itself, and two such requests could wait for each
   * other forever.
   */
  readonly #reachJumpHost: ReachJumpHost = async ({ target, credential, checkAddresses }, to, { signal }) => {
    const request = { target, credential, checkAddresses, isJumpHost: true, urgent: true };
    const pooled = await this.open(
      { ...request, ...(signal === undefined ? {} : { signal }) },
      (connection) => connection.forward(to),
    );
    pooled.channel.once('close', () => pooled.release());
    return pooled.channel;
  };

  /**
   * Returns whether another connection may be opened. If the pool is full, makes room by closing the connection that
   * has been unused for longest.
   */
  #makeRoom(): boolean {
    if (this.#count < this.#options.maxConnections) return true;
    let longest: PooledConnection | undefined;
    for (const pooled of this.#all()) {
      const { unusedSince } = pooled;
      if (unusedSince !== undefined && unusedSince < (longest?.unusedSince ?? Number.POSITIVE_INFINITY))
        longest = pooled;
    }
    if (longest === undefined) return false;
    this.#discard(longest);
    return true;
  }

  /**
   * A login on which a shell or a program could not be started is as it was when it logged in, whatever has been mended
   * since: the shell, the groups, the configuration of the server. What a jump host can't reach says nothing about it.
   */
  #doubt(pooled: PooledConnection, { isJumpHost, hasOtherWay }: OpenRequest): void {
    if (isJumpHost !== true && hasOtherWay !== true) pooled.retire();
  }

  /**
   * The server may still open a channel that nobody waits for any more; its place is freed once it is closed again. If
   * the server never answers, the connection is no good: it would be full some day, and stay so.
   */
  #releaseLate(pooled: PooledConnection, opening: Promise<Closable>): void {
    const release = once(() => {
      clearTimeout(timer);
      this.#release(pooled);
    });
    const timer = setTimeout(() => {
      pooled.retire();
      release();
    }, this.#options.lateChannelMs);
    opening
      .then(closeChannel)
      .catch(() => {})
      .finally(release);
  }

  #release(pooled: PooledConnection): void {
    pooled.release();
    this.#waiting.wakeOne(pooled.key);
  }

  #discard(pooled: PooledConnection): void {
    const own = this.#connections.get(pooled.key);
    if (!own?.delete(pooled)) return;
    if (own.size === 0) this.#connections.delete(pooled.key);
    this.#count -= 1;
    pooled.close(poolClosed());
    this.#waiting.wakeOne(pooled.key);
  }

  *#all(): Generator<PooledConnection> {
    for (const own of this.#connections.values()) yield* own;
  }
}

/**
 * Returns a connection that has a fitting spare; otherwise one with a free place; otherwise one of whose spares one is
 * dropped to free its place.
 */
function freeConnection(
  own: readonly PooledConnection[],
  { start, name }: Ahead,
): PooledConnection | undefined {
  const usable = own.filter(({ hasPlace }) => hasPlace);
  const ready = usable.find((pooled) => pooled.hasSpareFor(start, name));
  const roomy = usable.find(({ hasPlaceBesideSpares }) => hasPlaceBesideSpares);
  const free = ready ?? roomy ?? usable[0];
  if (free !== undefined && free !== ready && free !== roomy) free.dropSpare();
  return free;
}

function once(run: () => void): () => void {
  let done = false;
  return () => {
    if (done) return;
    done = true;
    run();
  };
}

function lostBeforeStart(target: StepTarget, cause: unknown): SshError {
  return new SshError({
    reason: 'unreachable',
    message: `The connection to ${target.host} closed before anything was started.`,
    advice: "Look at the network between agent and target, and at the SSH server's log.",
    retryable: true,
    cause,
  });
}

function poolClosed(): SshError {
  return new SshError({
    reason: 'unreachable',
    message: 'The agent is shutting down its SSH connections.',
    advice: 'Run the step again once the agent is back.',
    retryable: true,
  });
}
