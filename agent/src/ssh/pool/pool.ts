// Warm connections, shared by all attempts on one target with one credential. A channel is handed out before anything
// is sent on it, so a connection that turns out to be dead or full costs another try, but never a command.
import { createHash } from 'node:crypto';
import type { Duplex } from 'node:stream';
import { abortable } from '../../dialling/abortable.ts';
import type { OpenedCredential, StepTarget } from '../../steps/step-type.ts';
import {
  type ConnectOptions,
  connectSsh,
  openPort,
  type ReachJumpHost,
  type SshConnection,
} from '../connection.ts';
import { SshError } from '../ssh-error.ts';
import { Rush, type RushOptions } from './rush.ts';
import { closeChannel, SpareChannel, type Start } from './spare-channel.ts';

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
  /** Identifies the request; a channel that `reserve` kept under this name is used for it, and for no other request. */
  name?: string;
}

export interface Lease<Channel> {
  channel: Channel;
  connection: SshConnection;
  /** Whether the connection was opened for an earlier request. */
  reused: boolean;
  /** Whether the channel was a spare, opened in advance: its other end may have gone since. */
  prepared: boolean;
  /** Whether `reserve` had kept the channel for this request, and `tell` was called on it. */
  reserved: boolean;
  /**
   * Opens a spare channel with the same `start` for the next request: at once if requests follow one another on this
   * connection, otherwise when no rush is on. Best effort. `watch` must call `gone` as soon as that channel has become
   * useless.
   */
  prepareNext(watch: (channel: Channel, gone: () => void) => void): void;
  /** Frees the channel's place. Call it once the channel is closed; calling it again does nothing. */
  release(): void;
}

interface Entry {
  key: string;
  targetId: number;
  /** Places taken, including those of requests that wait for the connection. */
  channels: number;
  maxChannels: number;
  used: boolean;
  /** When a place was last freed, on the monotonic clock. */
  releasedAt: number | undefined;
  /** Whether the last place was taken soon after one was freed, so that requests follow one another. */
  isInSeries: boolean;
  abort: AbortController;
  connecting: Promise<SshConnection>;
  connection: SshConnection | undefined;
  /** Occupies a place, but is dropped if a request needs the place. */
  spare: SpareChannel<SshConnection, ClosableChannel> | undefined;
  idleTimer: NodeJS.Timeout | undefined;
  /** Whether it was opened under older rules, so that nothing new begins on it. */
  isRetired: boolean;
}

/** Which spare channels can serve a request. */
interface Ahead {
  /** Undefined if the request wants a channel of its own. */
  start: unknown;
  name: string | undefined;
}

interface ClosableChannel {
  close?(): void;
  end?(): void;
}

interface Waiter {
  key: string;
  wake(): void;
}

export class SshPool {
  readonly #options: Required<Omit<SshPoolOptions, 'connect' | 'rush'>>;
  readonly #connect: SshPoolOptions['connect'];
  readonly #entries = new Map<string, Set<Entry>>();
  readonly #waiters = new Set<Waiter>();
  readonly #rush: Rush;
  /** Spare channels that are reserved, by the name of the request. */
  readonly #reserved = new Map<string, SpareChannel<SshConnection, ClosableChannel>>();
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
  async open<Channel extends ClosableChannel>(
    request: OpenRequest,
    start: Start<SshConnection, Channel>,
  ): Promise<Lease<Channel>> {
    const key = `${request.isJumpHost === true ? 'through' : 'at'} ${poolKey(request.target, request.credential)}`;
    let deadSeen = false;
    let refusedSeen = false;
    for (;;) {
      request.signal?.throwIfAborted();
      const ahead = request.ownChannel === true ? undefined : start;
      const entry = await this.#place(key, request, { start: ahead, name: request.name });
      const reused = entry.used;
      entry.used = true;
      this.#rush.arrive();
      let connection: SshConnection;
      try {
        connection = await abortable(entry.connecting, request.signal);
      } catch (error) {
        this.#release(entry);
        throw error;
      }
      const spare = this.#takeSpare(entry, { start: ahead, name: request.name });
      const opening = spare?.opening ?? start(connection);
      try {
        const channel = await abortable(opening, request.signal);
        return {
          channel,
          connection,
          reused,
          prepared: spare !== undefined,
          reserved: spare?.isReserved === true,
          prepareNext: (watch) => this.#prepareSoon(entry, start, watch),
          release: once(() => this.#release(entry)),
        };
      } catch (error) {
        if (request.signal?.aborted) {
          // The server may still open the channel; its place is freed once it is closed again.
          opening
            .then(closeChannel)
            .catch(() => {})
            .finally(() => this.#release(entry));
          throw error;
        }
        const others = entry.channels - 1;
        this.#release(entry);
        if (!connection.open) {
          this.#discard(entry);
          // A warm connection may have died unnoticed; if a fresh one dies, the problem is the target.
          if (deadSeen || !reused) throw lostBeforeStart(request.target, error);
          deadSeen = true;
          continue;
        }
        if (!(error instanceof SshError) || error.reason !== 'channel_refused') throw error;
        if (others > 0) {
          entry.maxChannels = others;
          continue;
        }
        // A server that allows one session may still count the one just closed, but a fresh connection has had none.
        if (refusedSeen || !reused) throw error;
        refusedSeen = true;
        this.#discard(entry);
      }
    }
  }

  /**
   * Keeps the spare channel that was opened with `start` to this target for the request of that name, and calls `tell`
   * on it. Does nothing if there is no such channel, or more than one: the target may have connections with several
   * credentials, and which of them the request will use is not known yet.
   */
  reserve<Channel extends ClosableChannel>(
    { targetId, name }: { targetId: number; name: string },
    start: Start<SshConnection, Channel>,
    tell: (channel: Channel) => void,
  ): void {
    const spares = [...this.#entries.values()]
      .flatMap((set) => [...set])
      .filter((entry) => entry.targetId === targetId && entry.spare?.isFor(start, undefined) === true)
      .map(({ spare }) => spare);
    const [spare] = spares;
    if (spare === undefined || spares.length > 1) return;
    this.#reserved.set(name, spare);
    spare.reserve(name, tell as (channel: ClosableChannel) => void);
  }

  /** Closes the spare channel that is reserved under this name, if the request has not taken it. */
  dropReserved(name: string): void {
    this.#reserved.get(name)?.drop();
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
    for (const entry of [...this.#entries.values()].flatMap((set) => [...set])) {
      entry.isRetired = true;
      entry.spare?.drop();
      if (entry.channels === 0) this.#discard(entry);
    }
  }

  /** Closes every connection, with the channels on it. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#rush.leaveAll();
    const entries = [...this.#entries.values()].flatMap((set) => [...set]);
    for (const entry of entries) this.#discard(entry);
    for (const waiter of this.#waiters) waiter.wake();
    await Promise.allSettled(
      entries.map((entry) => entry.connecting.then((connection) => connection.closed)),
    );
  }

  /** Takes a place on a connection, waiting for one if the limits are reached. */
  async #place(key: string, request: OpenRequest, ahead: Ahead): Promise<Entry> {
    for (;;) {
      if (this.#closed) throw poolClosed();
      const own = this.#entries.get(key);
      // Stopping what already runs doesn't count as beginning something new.
      const mayUseRetired = request.urgent === true && request.isJumpHost !== true;
      const fit = [...(own ?? [])].filter(({ isRetired }) => !isRetired || mayUseRetired);
      const free = request.fresh ? undefined : freeEntry(fit, ahead);
      if (free) {
        this.#take(free);
        return free;
      }
      const most = request.target.maxConnections ?? this.#options.maxConnectionsPerTarget;
      if (request.urgent || ((own?.size ?? 0) < most && this.#makeRoom())) {
        return this.#add(key, request);
      }
      await this.#wait(key, request.signal);
    }
  }

  #take(entry: Entry): void {
    entry.channels += 1;
    entry.isInSeries =
      entry.releasedAt !== undefined && performance.now() - entry.releasedAt < this.#options.seriesGapMs;
    this.#rush.leave(entry);
    clearTimeout(entry.idleTimer);
    entry.idleTimer = undefined;
  }

  #add(key: string, request: OpenRequest): Entry {
    const abort = new AbortController();
    const connecting = connectSsh(request.target, request.credential, {
      ...this.#connect,
      checkAddresses: request.checkAddresses,
      signal: abort.signal,
      reachJumpHost: this.#reachJumpHost,
    });
    const entry: Entry = {
      key,
      targetId: request.target.id,
      channels: 1,
      maxChannels: request.isJumpHost === true ? this.#options.maxForwards : this.#options.maxChannels,
      used: false,
      releasedAt: undefined,
      isInSeries: false,
      abort,
      connecting,
      connection: undefined,
      spare: undefined,
      idleTimer: undefined,
      isRetired: false,
    };
    const own = this.#entries.get(key) ?? new Set();
    this.#entries.set(key, own.add(entry));
    this.#count += 1;
    connecting.then(
      (connection) => {
        entry.connection = connection;
        // The entry may have been discarded just before the connection was established.
        if (!this.#entries.get(key)?.has(entry)) connection.close();
        connection.closed.then(() => this.#discard(entry));
      },
      () => this.#discard(entry),
    );
    return entry;
  }

  /**
   * Reaches a jump host over a shared connection, which carries many others. It ignores the limit on all connections:
   * the request that waits for it already counts as a connection itself, and two such requests could wait for each
   * other forever.
   */
  readonly #reachJumpHost: ReachJumpHost = async ({ target, credential, checkAddresses }, to, { signal }) => {
    const request = { target, credential, checkAddresses, isJumpHost: true, urgent: true };
    const lease = await this.open({ ...request, ...(signal === undefined ? {} : { signal }) }, (connection) =>
      connection.forward(to),
    );
    lease.channel.once('close', () => lease.release());
    return lease.channel;
  };

  #prepareSoon<Channel extends ClosableChannel>(
    entry: Entry,
    start: Start<SshConnection, Channel>,
    watch: (channel: Channel, gone: () => void) => void,
  ): void {
    const prepare = () => this.#prepare(entry, start, watch);
    if (entry.isInSeries) prepare();
    else this.#rush.afterwards(entry, prepare);
  }

  #prepare<Channel extends ClosableChannel>(
    entry: Entry,
    start: Start<SshConnection, Channel>,
    watch: (channel: Channel, gone: () => void) => void,
  ): void {
    const { connection } = entry;
    if (this.#closed || entry.isRetired || entry.spare !== undefined || !connection?.open) return;
    if (entry.channels >= entry.maxChannels) return;
    const spare: SpareChannel<SshConnection, Channel> = new SpareChannel({
      connection,
      start,
      watch,
      keepMs: this.#options.idleMs,
      onGone: () => {
        this.#forget(spare);
        if (entry.spare === spare) entry.spare = undefined;
      },
    });
    entry.spare = spare as unknown as SpareChannel<SshConnection, ClosableChannel>;
  }

  /**
   * Returns whether another connection may be opened. If the pool is full, makes room by closing the connection that
   * has been unused for longest.
   */
  #makeRoom(): boolean {
    if (this.#count < this.#options.maxConnections) return true;
    let longest: Entry | undefined;
    for (const set of this.#entries.values()) {
      for (const entry of set) {
        if (
          entry.channels === 0 &&
          (entry.releasedAt ?? 0) < (longest?.releasedAt ?? Number.POSITIVE_INFINITY)
        )
          longest = entry;
      }
    }
    if (longest === undefined) return false;
    this.#discard(longest);
    return true;
  }

  /** Takes the entry's spare channel; undefined if it has none for this request. */
  #takeSpare<Channel>(
    entry: Entry,
    { start, name }: { start: Start<SshConnection, Channel> | undefined; name: string | undefined },
  ): { opening: Promise<Channel>; isReserved: boolean } | undefined {
    const { spare } = entry;
    if (spare?.isFor(start, name) !== true) return undefined;
    entry.spare = undefined;
    this.#forget(spare);
    return {
      opening: spare.take() as unknown as Promise<Channel>,
      isReserved: spare.reservedFor !== undefined,
    };
  }

  #forget({ reservedFor }: Pick<SpareChannel<SshConnection, ClosableChannel>, 'reservedFor'>): void {
    if (reservedFor !== undefined) this.#reserved.delete(reservedFor);
  }

  #release(entry: Entry): void {
    entry.channels -= 1;
    entry.releasedAt = performance.now();
    const own = this.#entries.get(entry.key);
    if (entry.channels === 0 && own?.has(entry)) {
      if (entry.connection && !entry.isRetired)
        entry.idleTimer = setTimeout(() => this.#discard(entry), this.#options.idleMs);
      // It is still connecting and nobody waits for it any more, or it is retired.
      else this.#discard(entry);
    }
    this.#wake(entry.key);
  }

  #discard(entry: Entry): void {
    clearTimeout(entry.idleTimer);
    entry.spare?.drop();
    this.#rush.leave(entry);
    const own = this.#entries.get(entry.key);
    if (!own?.delete(entry)) return;
    if (own.size === 0) this.#entries.delete(entry.key);
    this.#count -= 1;
    if (entry.connection) entry.connection.close();
    else entry.abort.abort(poolClosed());
    this.#wake(entry.key);
  }

  /** Wakes one waiter. One for the same target can use the freed place; any other needs a connection to be closed. */
  #wake(key: string): void {
    let other: Waiter | undefined;
    for (const waiter of this.#waiters) {
      if (waiter.key === key) {
        waiter.wake();
        return;
      }
      other ??= waiter;
    }
    other?.wake();
  }

  #wait(key: string, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const finish = (settle: () => void) => () => {
        this.#waiters.delete(waiter);
        signal?.removeEventListener('abort', onAbort);
        settle();
      };
      const waiter: Waiter = { key, wake: finish(resolve) };
      const onAbort = finish(() => reject(signal?.reason));
      signal?.addEventListener('abort', onAbort);
      this.#waiters.add(waiter);
    });
  }
}

/**
 * Returns a connection that has a fitting spare; otherwise one with a free place; otherwise one whose spare is dropped
 * to free its place.
 */
function freeEntry(own: readonly Entry[], { start, name }: Ahead): Entry | undefined {
  const usable = own.filter(
    (entry) => entry.channels < entry.maxChannels && entry.connection?.open !== false,
  );
  const ready = usable.find((entry) => entry.spare?.isFor(start, name));
  const roomy = usable.find(({ channels, maxChannels, spare }) => channels + (spare ? 1 : 0) < maxChannels);
  const free = ready ?? roomy ?? usable[0];
  if (free !== undefined && free !== ready && free !== roomy) free.spare?.drop();
  return free;
}

function poolKey(target: StepTarget, credential: OpenedCredential): string {
  const { hostAuthorities = [], revokedHostKeys = [], algorithms = 'current', jumps = [] } = target;
  const trust = [[...target.hostKeys].sort(), hostAuthorities, revokedHostKeys, algorithms];
  const way = jumps.map((jump) => poolKey(jump.target, jump.credential));
  const held = createHash('sha256')
    .update(JSON.stringify([trust, way]))
    .digest('base64');
  const { id, version, user } = credential;
  return JSON.stringify([target.id, target.host, target.port, held, id, version, user]);
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
