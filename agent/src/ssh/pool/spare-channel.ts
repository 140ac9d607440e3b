// A spare channel: opened in advance for the next request that asks for the same on its connection. The target's shell
// is already waiting, so a step is spared the time to start it.

export type Start<Connection, Channel> = (connection: Connection) => Promise<Channel>;

export interface SpareOptions<Connection, Channel> {
  connection: Connection;
  /** Of the requests that it serves. */
  start: Start<Connection, Channel>;
  /** Opens it. */
  startSpare: Start<Connection, Channel>;
  /**
   * Must call `gone` as soon as the channel is known to be useless. It returns whether the channel was waiting until
   * then, neither taken nor dropped.
   */
  watch(channel: Channel, gone: () => boolean): void;
  /** How long it is kept, in ms. */
  keepMs: number;
  /** Called once, if the channel ends without having been taken. */
  onGone(): void;
}

export interface Closable {
  close?(): void;
  end?(): void;
}

export class SpareChannel<Connection, Channel extends Closable> {
  readonly opening: Promise<Channel>;
  readonly #options: SpareOptions<Connection, Channel>;
  readonly #timer: NodeJS.Timeout;
  #isOver = false;
  #reservedFor: string | undefined;

  constructor(options: SpareOptions<Connection, Channel>) {
    this.#options = options;
    this.#timer = setTimeout(() => this.drop(), options.keepMs);
    this.opening = options.startSpare(options.connection);
    this.opening.then(
      (channel) => options.watch(channel, () => this.#end()),
      () => void this.#end(),
    );
  }

  /** @param name identifies the request; a reserved channel serves only the request it is reserved for. */
  isFor(start: unknown, name: string | undefined): boolean {
    return this.#options.start === start && (this.#reservedFor ?? name) === name;
  }

  get reservedFor(): string | undefined {
    return this.#reservedFor;
  }

  /**
   * Keeps the channel for one request, and calls `tell` once it is open. If that request never comes, the channel
   * expires like any other.
   */
  reserve(name: string, tell: (channel: Channel) => void): void {
    if (this.#isOver || this.#reservedFor !== undefined) return;
    this.#reservedFor = name;
    this.opening.then(tell, () => undefined);
  }

  /** Hands the channel over; the caller owns it from then on. */
  take(): Promise<Channel> {
    this.#isOver = true;
    clearTimeout(this.#timer);
    return this.opening;
  }

  /** Closes the channel, unless it was taken or is gone. */
  drop(): void {
    if (this.#isOver) return;
    this.#end();
    this.opening.then(closeChannel, () => undefined);
  }

  /** Returns whether it was there until now. */
  #end(): boolean {
    if (this.#isOver) return false;
    this.#isOver = true;
    clearTimeout(this.#timer);
    this.#options.onGone();
    return true;
  }
}

export function closeChannel(channel: Closable): void {
  (channel.close ?? channel.end)?.call(channel);
}
