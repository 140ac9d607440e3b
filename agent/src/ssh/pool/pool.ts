// Warm connections, shared by the attempts on one target with one credential. A channel is handed out before
// anything is sent on it, so a connection found dead or full costs one more try and never a command.
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
  /** Connections in all; 500 unless told. */
  maxConnections?: number;
  /** Connections to one target with one credential; 8 unless told. */
  maxConnectionsPerTarget?: number;
  /** Channels on one connection; 10 unless told, which is sshd's MaxSessions. */
  maxChannels?: number;
  /** Streams through one connection to a jump host; 64 unless told. */
  maxForwards?: number;
  /** How long an unused connection is kept, in ms; 60 s unless told. */
  idleMs?: number;
  /** When channels are opened that fast, none is opened ahead, but where requests follow one another. */
  rush?: RushOptions;
  /** A request within that time of the last one's end follows it, in ms; 1 s unless told: a step of the same run comes after a round trip to the server. */
  seriesGapMs?: number;
  connect?: Omit<ConnectOptions, 'checkAddresses' | 'signal' | 'reachJumpHost'>;
}

export interface OpenRequest {
  target: StepTarget;
  credential: OpenedCredential;
  checkAddresses: ConnectOptions['checkAddresses'];
  /** Gives up waiting; the connection itself is kept where others wait for it. */
  signal?: AbortSignal;
  /** The way to another target leads through it: its connections are kept apart from those that commands run on. */
  isJumpHost?: boolean;
  /** Passes the bounds: for stopping what already runs. */
  urgent?: boolean;
  /** Takes a new connection even where a warm one is there: for when that one doesn't answer. */
  fresh?: boolean;
  /** Has a channel opened even where one was opened ahead: for when such a one was found gone. */
  ownChannel?: boolean;
}

export interface Lease<Channel> {
  channel: Channel;
  connection: SshConnection;
  /** Whether the connection had been opened for an earlier request. */
  reused: boolean;
  /** Whether the channel itself had been opened ahead: its other end may have gone since. */
  prepared: boolean;
  /**
   * Opens a channel with the same `start` ahead, for the next request: at once where requests follow one another on this
   * connection, else when no other channels are opened in a rush. Best effort; `watch` is to call `gone` as soon as that
   * channel is of no use.
   */
  prepareNext(watch: (channel: Channel, gone: () => void) => void): void;
  /** Gives the channel's place back; call it once the channel is closed. Calling it again does nothing. */
  release(): void;
}

interface Entry {
  key: string;
  /** Places taken, also by those who wait for the connection. */
  channels: number;
  maxChannels: number;
  used: boolean;
  /** When its last place was given back, by the monotonic clock. */
  releasedAt: number | undefined;
  /** The last one that took a place did so soon after the one before had given its own back. */
  isInSeries: boolean;
  abort: AbortController;
  connecting: Promise<SshConnection>;
  connection: SshConnection | undefined;
  /** Takes a place that whoever needs one may have. */
  spare: SpareChannel<SshConnection, ClosableChannel> | undefined;
  idleTimer: NodeJS.Timeout | undefined;
  /** Opened under other rules: nothing begins on it any more. */
  isRetired: boolean;
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

  /** Connections that are open or being opened. */
  get connections(): number {
    return this.#count;
  }

  /** Whether nothing can be opened any more. */
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
      const entry = await this.#place(key, request, ahead);
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
      const spare = takeSpare(entry, ahead);
      const opening = spare ?? start(connection);
      try {
        const channel = await abortable(opening, request.signal);
        return {
          channel,
          connection,
          reused,
          prepared: spare !== undefined,
          prepareNext: (watch) => this.#prepareSoon(entry, start, watch),
          release: once(() => this.#release(entry)),
        };
      } catch (error) {
        if (request.signal?.aborted) {
          // The server may still open it; its place is given back once it is closed again.
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
          // A warm connection may have died unnoticed; a fresh one that dies says something about the target.
          if (deadSeen || !reused) throw lostBeforeStart(request.target, error);
          deadSeen = true;
          continue;
        }
        if (!(error instanceof SshError) || error.reason !== 'channel_refused') throw error;
        if (others > 0) {
          entry.maxChannels = others;
          continue;
        }
        // A server of one session may still count the one that was closed a moment ago; a fresh one has had none.
        if (refusedSeen || !reused) throw error;
        refusedSeen = true;
        this.#discard(entry);
      }
    }
  }

  /** Connects to a target's port and lets go of it again: whether it takes connections. Rejects with an `SshError`. */
  async probe(request: Pick<OpenRequest, 'target' | 'checkAddresses'>, signal: AbortSignal): Promise<void> {
    const stream = await this.reach(request, { signal });
    stream.on('error', () => {});
    stream.destroy();
  }

  /** A stream to a target's port, for whoever asked to close. Rejects with an `SshError`, or with the signal's reason. */
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
   * Lets nothing begin on the connections that there are: where they lead was checked by rules that are no more. What runs on
   * them goes on and may be stopped over them, and the last one closes them.
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

  /** Takes a place on a connection, waiting for one where the bounds are reached. */
  async #place(key: string, request: OpenRequest, ahead: unknown): Promise<Entry> {
    for (;;) {
      if (this.#closed) throw poolClosed();
      const own = this.#entries.get(key);
      // To stop what runs is nothing new.
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
        // Discarded in the very moment it came about.
        if (!this.#entries.get(key)?.has(entry)) connection.close();
        connection.closed.then(() => this.#discard(entry));
      },
      () => this.#discard(entry),
    );
    return entry;
  }

  /**
   * One connection to a jump host carries many others. It passes the bound of connections in all: whoever waits for it
   * has a place of its own already, and two who wait for each other's would wait for ever.
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
        if (entry.spare === spare) entry.spare = undefined;
      },
    });
    entry.spare = spare as unknown as SpareChannel<SshConnection, ClosableChannel>;
  }

  /** Whether another connection may be opened, closing the longest unused one where that makes room. */
  #makeRoom(): boolean {
    if (this.#count < this.#options.maxConnections) return true;
    for (const set of this.#entries.values()) {
      for (const entry of set) {
        if (entry.channels > 0) continue;
        this.#discard(entry);
        return true;
      }
    }
    return false;
  }

  #release(entry: Entry): void {
    entry.channels -= 1;
    entry.releasedAt = performance.now();
    const own = this.#entries.get(entry.key);
    if (entry.channels === 0 && own?.has(entry)) {
      if (entry.connection && !entry.isRetired)
        entry.idleTimer = setTimeout(() => this.#discard(entry), this.#options.idleMs);
      // Nobody waits for it any more, or nobody may use it.
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

  /** A waiter for the same target can use a freed place; any other needs a connection to be closed for it. */
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

/** One that has just the channel that is asked for, where one opened ahead is, or else any with a place, taking back a spare's. */
function freeEntry(own: readonly Entry[], ahead: unknown): Entry | undefined {
  const usable = own.filter(
    (entry) => entry.channels < entry.maxChannels && entry.connection?.open !== false,
  );
  const ready = usable.find((entry) => entry.spare?.isFor(ahead));
  const roomy = usable.find(({ channels, maxChannels, spare }) => channels + (spare ? 1 : 0) < maxChannels);
  const free = ready ?? roomy ?? usable[0];
  if (free !== undefined && free !== ready && free !== roomy) free.spare?.drop();
  return free;
}

/** Of a spare, taken by its place; undefined where there is none for this. */
function takeSpare<Channel>(
  entry: Entry,
  ahead: Start<SshConnection, Channel> | undefined,
): Promise<Channel> | undefined {
  if (entry.spare?.isFor(ahead) !== true) return undefined;
  const taken = entry.spare.take() as unknown as Promise<Channel>;
  entry.spare = undefined;
  return taken;
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
