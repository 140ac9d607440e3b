// Spaces out messages that an agent may send as often as it likes and that each leave a row in the audit log. The first
// is handled at once. Of those that follow too soon, only the newest is handled, when it is time.

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

  /** Resolves when the message was handled, or at once if that is postponed. */
  async take(message: Message): Promise<void> {
    if (this.#isClosed) return;
    if (this.#timer !== undefined) {
      this.#newest = message;
      return;
    }
    this.#timer = setTimeout(() => this.#next(), this.#options.everyMs);
    await this.#options.handle(message);
  }

  /** Drops a postponed message, and all that come later. */
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
