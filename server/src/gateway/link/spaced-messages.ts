// Messages that an agent may send as often as it likes and that leave a row in the audit log each: the first is handled at
// once, of those that follow too soon the newest when it is time.

export interface SpacedMessagesOptions<Message> {
  everyMs: number;
  /** Never rejects. */
  handle(message: Message): Promise<void>;
}

export class SpacedMessages<Message> {
  readonly #options: SpacedMessagesOptions<Message>;
  #newest: Message | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(options: SpacedMessagesOptions<Message>) {
    this.#options = options;
  }

  /** Resolves when it was handled, or at once where that is put off. */
  async take(message: Message): Promise<void> {
    if (this.#isClosed) return;
    if (this.#timer !== undefined) {
      this.#newest = message;
      return;
    }
    this.#timer = setTimeout(() => this.#next(), this.#options.everyMs);
    await this.#options.handle(message);
  }

  /** Drops what was put off, and what comes after. */
  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
  }

  #next(): void {
    this.#timer = undefined;
    const newest = this.#newest;
    this.#newest = undefined;
    if (newest !== undefined) void this.take(newest);
  }
}
