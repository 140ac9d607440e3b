// One connection of the pool, open or being opened: the places for channels on it, the spare channels that wait for the
// next requests, and when nobody needs the connection any more.
import type { SshConnection } from '../connection.ts';
import { SshError } from '../ssh-error.ts';
import type { Rush } from './rush.ts';
import { type Closable, SpareChannel, type SpareOptions, type Start } from './spare-channel.ts';

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

  /** With how many places occupied a spare channel was refused: the target allows no more channels than these. */
  #refusedBeside = Number.POSITIVE_INFINITY;
  /** They occupy places, but are dropped if requests need these. At most one of them is reserved for nobody. */
  #spares: SpareChannel<SshConnection, Closable>[] = [];

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
    this.#dropSpares();
    if (this.#channels === 0) this.#options.onOver();
  }

  /** @param reason what those who wait for the connection are told. */
  close(reason: Error): void {
    this.#isClosed = true;
    clearTimeout(this.#idleTimer);
    this.#dropSpares();
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

  /** Whether a request can take a place, if need be that of a spare channel. */
  get hasPlace(): boolean {
    return this.#channels < this.#maxChannels && this.#connection?.open !== false;
  }

  /** Whether a request can take a place beside the spare channels. */
  get hasPlaceBesideSpares(): boolean {
    return this.hasPlace && this.#occupied < this.#maxChannels;
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

  // ---- the spare channels

  /**
   * Opens a spare channel, unless one is there that is reserved for nobody: at once if requests follow one another,
   * otherwise when no rush is on. Best effort. `watch` must call `gone` as soon as that channel has become useless.
   * `startSpare` opens it, and it serves requests with `start`.
   */
  prepareNext<Channel extends Closable>(
    start: Start<SshConnection, Channel>,
    watch: (channel: Channel, gone: () => boolean) => void,
    startSpare: Start<SshConnection, Channel> = start,
  ): void {
    const prepare = () => this.#prepare({ start, watch, startSpare });
    if (this.#isInSeries) prepare();
    else this.#options.rush.afterwards(this, prepare);
  }

  hasSpareFor(start: unknown, name: string | undefined): boolean {
    return this.#spares.some((spare) => spare.isFor(start, name));
  }

  /** Takes a spare channel; undefined if there is none for this request. */
  takeSpare<Channel>(
    start: Start<SshConnection, Channel> | undefined,
    name: string | undefined,
  ): { opening: Promise<Channel>; isReserved: boolean } | undefined {
    // What is reserved comes first: only the last one can be for anybody.
    const spare = this.#spares.find((each) => each.isFor(start, name));
    if (spare === undefined) return undefined;
    this.#forget(spare);
    return {
      opening: spare.take() as unknown as Promise<Channel>,
      isReserved: spare.reservedFor !== undefined,
    };
  }

  /** Keeps the spare channel that is reserved for nobody for one request, and calls `tell` once it is open. */
  reserveSpare(name: string, tell: (channel: Closable) => void): void {
    this.#unreserved?.reserve(name, tell);
  }

  hasReserved(name: string): boolean {
    return this.#spares.some(({ reservedFor }) => reservedFor === name);
  }

  dropReserved(name: string): void {
    this.#spares.find(({ reservedFor }) => reservedFor === name)?.drop();
  }

  /** Drops the spare channel that will be missed least: the one reserved for nobody, or else for the last request. */
  dropSpare(): void {
    (this.#unreserved ?? this.#spares.at(-1))?.drop();
  }

  get spares(): number {
    return this.#spares.length;
  }

  get #unreserved(): SpareChannel<SshConnection, Closable> | undefined {
    return this.#spares.find(({ reservedFor }) => reservedFor === undefined);
  }

  get #occupied(): number {
    return this.#channels + this.#spares.length;
  }

  #dropSpares(): void {
    for (const spare of [...this.#spares]) spare.drop();
  }

  #forget(spare: SpareChannel<SshConnection, Closable>): void {
    this.#spares = this.#spares.filter((other) => other !== spare);
  }

  #prepare<Channel extends Closable>(
    how: Pick<SpareOptions<SshConnection, Channel>, 'start' | 'startSpare' | 'watch'>,
  ): void {
    const connection = this.#connection;
    if (this.#isClosed || this.#isRetired || this.#unreserved !== undefined || !connection?.open) return;
    const others = this.#occupied;
    if (others >= Math.min(this.#maxChannels, this.#refusedBeside)) return;
    const opened = new SpareChannel({
      ...how,
      connection,
      keepMs: this.#options.idleMs,
      onGone: () => this.#forget(spare),
    });
    const spare = opened as unknown as SpareChannel<SshConnection, Closable>;
    this.#spares.push(spare);
    opened.opening.catch((error: unknown) => {
      if (error instanceof SshError && error.reason === 'channel_refused') this.#refusedBeside = others;
    });
  }
}
