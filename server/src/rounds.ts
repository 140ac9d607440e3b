// Work that is done again and again, with a pause after each time, so that no two rounds of it run at once.
export interface RoundsOptions {
  /** Must not reject. */
  work(): Promise<void>;
  pauseMs: number;
}

export class Rounds {
  readonly #options: RoundsOptions;
  #timer: NodeJS.Timeout | undefined;
  #round: Promise<void> | undefined;
  #isStopped = false;

  constructor(options: RoundsOptions) {
    this.#options = options;
  }

  get isStopped(): boolean {
    return this.#isStopped;
  }

  start(): void {
    if (this.#isStopped) return;
    this.#round = this.#options.work().finally(() => this.startLater());
  }

  /** Begins with the pause. */
  startLater(): void {
    if (this.#isStopped) return;
    this.#timer = setTimeout(() => this.start(), this.#options.pauseMs);
    this.#timer.unref();
  }

  /** Begins no more rounds, and resolves when the current one is over. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    await this.#round;
  }
}
