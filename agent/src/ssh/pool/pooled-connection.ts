// One connection of the pool, open or being opened: the places for channels on it, the spare channel that waits for its
// next request, and when nobody needs the connection any more.
import type { SshConnection } from '../connection.ts';
import { SshError } from '../ssh-error.ts';
import type { Rush } from './rush.ts';
import { type Closable, SpareChannel, type Start } from './spare-channel.ts';

export interface PooledConnectionOptions {
  /** Which requests can use it. */
  key: string;
  targetId: number;
  connect(signal: AbortSignal): Promise<SshConnection>;
  /** Limit on channels. */
  maxChannels: number;
  /** How long it is kept unused, and how long a spare channel is kept, in ms. */
  idleMs: number;
  /** A place taken within this time of the last one's release follows it, in ms. */
  seriesGapMs: number;
  rush: Rush;
  /** Called when the connection has ended or is no longer needed; `close` has to be called then. */
  onOver(): void;
}

export class PooledConnection {
  readonly key: string;
  readonly targetId: number;
  readonly connecting: Promise<SshConnection>;
  readonly #options: PooledConnectionOptions;
  readonly #abort = new AbortController();
  #connection: SshConnection | undefined;
  #isClosed = false;
  /** Whether it was opened under older rules, so that nothing new begins on it. */
  #isRetired = false;

  /** Places taken, including those of requests that wait for the connection. The first is of who opened it. */
  #channels = 1;
  #maxChannels: number;
  /** When a place was last freed, on the monotonic clock. */
  #releasedAt: number | undefined;
  /** Whether the last place was taken soon after one was freed, so that requests follow one another. */
  #isInSeries = false;
  #idleTimer: NodeJS.Timeout | undefined;

  /** With how many places taken a spare channel was refused: the target allows no more channels than these. */
  #refusedBeside = Number.POSITIVE_INFINITY;
  /** Occupies a place, but is dropped if a request needs the place. */
  #spare: SpareChannel<SshConnection, Closable> | undefined;

  constructor(options: PooledConnectionOptions) {
    this.#options = options;
    this.key = options.key;
    this.targetId = options.targetId;
    this.#maxChannels = options.maxChannels;
    this.connecting = options.connect(this.#abort.signal);
    this.connecting.then(
      (connection) => {
        this.#connection = connection;
        // It may have been closed just before it was established.
        if (this.#isClosed) connection.close();
        connection.closed.then(() => options.onOver());
      },
      () => options.onOver(),
    );
  }

  get isRetired(): boolean {
    return this.#isRetired;
  }

  /** Lets nothing new begin on it. */
  retire(): void {
    this.#isRetired = true;
    this.#spare?.drop();
    if (this.#channels === 0) this.#options.onOver();
  }

  /** @param reason what those who wait for the connection are told. */
  close(reason: Error): void {
    this.#isClosed = true;
    clearTimeout(this.#idleTimer);
    this.#spare?.drop();
    this.#options.rush.leave(this);
    if (this.#connection) this.#connection.close();
    else this.#abort.abort(reason);
  }

  // ---- places

  /** Number of places taken. */
  get channels(): number {
    return this.#channels;
  }

  /** Since when no place has been taken, on the monotonic clock; undefined if one is taken. */
  get unusedSince(): number | undefined {
    return this.#channels === 0 ? this.#releasedAt : undefined;
  }

  /** Whether a request can take a place, if need be that of the spare channel. */
  get hasPlace(): boolean {
    return this.#channels < this.#maxChannels && this.#connection?.open !== false;
  }

  /** Whether a request can take a place beside the spare channel. */
  get hasPlaceBesideSpare(): boolean {
    return this.hasPlace && this.#channels + (this.#spare ? 1 : 0) < this.#maxChannels;
  }

  take(): void {
    this.#channels += 1;
    this.#isInSeries =
      this.#releasedAt !== undefined && performance.now() - this.#releasedAt < this.#options.seriesGapMs;
    this.#options.rush.leave(this);
    clearTimeout(this.#idleTimer);
    this.#idleTimer = undefined;
  }

  release(): void {
    this.#channels -= 1;
    this.#releasedAt = performance.now();
    if (this.#channels > 0 || this.#isClosed) return;
    const { onOver, idleMs } = this.#options;
    if (this.#connection && !this.#isRetired) this.#idleTimer = setTimeout(onOver, idleMs);
    // It is still connecting and nobody waits for it any more, or it is retired.
    else onOver();
  }

  /** The server has shown that it allows no more channels than this. */
  limitTo(maxChannels: number): void {
    this.#maxChannels = maxChannels;
  }

  // ---- the spare channel

  /**
   * Opens a spare channel: at once if requests follow one another, otherwise when no rush is on. Best effort. `watch`
   * must call `gone` as soon as that channel has become useless.
   */
  prepareNext<Channel extends Closable>(
    start: Start<SshConnection, Channel>,
    watch: (channel: Channel, gone: () => void) => void,
  ): void {
    const prepare = () => this.#prepare(start, watch);
    if (this.#isInSeries) prepare();
    else this.#options.rush.afterwards(this, prepare);
  }

  hasSpareFor(start: unknown, name: string | undefined): boolean {
    return this.#spare?.isFor(start, name) === true;
  }

  /** Takes the spare channel; undefined if there is none for this request. */
  takeSpare<Channel>(
    start: Start<SshConnection, Channel> | undefined,
    name: string | undefined,
  ): { opening: Promise<Channel>; isReserved: boolean } | undefined {
    const spare = this.#spare;
    if (spare?.isFor(start, name) !== true) return undefined;
    this.#spare = undefined;
    return {
      opening: spare.take() as unknown as Promise<Channel>,
      isReserved: spare.reservedFor !== undefined,
    };
  }

  /** Keeps the spare channel for one request, and calls `tell` once it is open. */
  reserveSpare(name: string, tell: (channel: Closable) => void): void {
    this.#spare?.reserve(name, tell);
  }

  get spareReservedFor(): string | undefined {
    return this.#spare?.reservedFor;
  }

  dropSpare(): void {
    this.#spare?.drop();
  }

  #prepare<Channel extends Closable>(
    start: Start<SshConnection, Channel>,
    watch: (channel: Channel, gone: () => void) => void,
  ): void {
    const connection = this.#connection;
    if (this.#isClosed || this.#isRetired || this.#spare !== undefined || !connection?.open) return;
    if (this.#channels >= Math.min(this.#maxChannels, this.#refusedBeside)) return;
    const spare: SpareChannel<SshConnection, Channel> = new SpareChannel({
      connection,
      start,
      watch,
      keepMs: this.#options.idleMs,
      onGone: () => {
        if ((this.#spare as unknown) === spare) this.#spare = undefined;
      },
    });
    this.#spare = spare as unknown as SpareChannel<SshConnection, Closable>;
    const others = this.#channels;
    spare.opening.catch((error: unknown) => {
      if (error instanceof SshError && error.reason === 'channel_refused') this.#refusedBeside = others;
    });
  }
}
