// A channel that was opened ahead, for the next who asks for the same on its connection: the target's shell is there
// and waits, so a step is spared the time to start it.

export type Start<Connection, Channel> = (connection: Connection) => Promise<Channel>;

export interface SpareOptions<Connection, Channel> {
  connection: Connection;
  start: Start<Connection, Channel>;
  /** Calls `gone` as soon as the channel is known to be of no use any more. */
  watch(channel: Channel, gone: () => void): void;
  /** How long it is kept, in ms. */
  keepMs: number;
  /** Called once, when it is over without having been taken. */
  onGone(): void;
}

interface Closable {
  close?(): void;
  end?(): void;
}

export class SpareChannel<Connection, Channel extends Closable> {
  readonly opening: Promise<Channel>;
  readonly #options: SpareOptions<Connection, Channel>;
  readonly #timer: NodeJS.Timeout;
  #isOver = false;

  constructor(options: SpareOptions<Connection, Channel>) {
    this.#options = options;
    this.#timer = setTimeout(() => this.drop(), options.keepMs);
    this.opening = options.start(options.connection);
    this.opening.then(
      (channel) => options.watch(channel, () => this.#end()),
      () => this.#end(),
    );
  }

  isFor(start: unknown): boolean {
    return this.#options.start === start;
  }

  /** Hands it over: from here on it is the taker's. */
  take(): Promise<Channel> {
    this.#isOver = true;
    clearTimeout(this.#timer);
    return this.opening;
  }

  /** Closes it. */
  drop(): void {
    if (this.#isOver) return;
    this.#end();
    this.opening.then(closeChannel, () => undefined);
  }

  #end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    clearTimeout(this.#timer);
    this.#options.onGone();
  }
}

export function closeChannel(channel: Closable): void {
  (channel.close ?? channel.end)?.call(channel);
}
