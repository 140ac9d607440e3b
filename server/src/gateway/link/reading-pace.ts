// Pauses reading from an agent while too much of what it has sent waits to be handled, and while the database is behind
// with output. Otherwise an agent that sends faster than it is handled would fill this server's memory, and so end the
// connections of all the others.

/** As much as the completions of all its slots may come to at once. */
const maxWaitingBytes = 64 * 1024 * 1024;
const maxWaitingMessages = 4_096;

export class ReadingPace {
  readonly #socket: { pause(): void; resume(): void };
  #bytes = 0;
  #messages = 0;
  #isOutputBehind = false;
  #isPaused = false;
  #isEnded = false;

  constructor(socket: { pause(): void; resume(): void }) {
    this.#socket = socket;
  }

  /** Counts a message of this size until the work on it is done. `work` must never reject. */
  async during(bytes: number, work: Promise<void>): Promise<void> {
    this.#bytes += bytes;
    this.#messages += 1;
    this.#pauseOrResume();
    await work;
    this.#bytes -= bytes;
    this.#messages -= 1;
    this.#pauseOrResume();
  }

  outputIsBehind(isBehind: boolean): void {
    this.#isOutputBehind = isBehind;
    this.#pauseOrResume();
  }

  /**
   * Resumes reading because the connection is being closed: the peer's answer has to be read, and the rest is dropped.
   */
  end(): void {
    if (this.#isPaused) this.#socket.resume();
    this.#isEnded = true;
  }

  #pauseOrResume(): void {
    if (this.#isEnded) return;
    // Reading resumes only when half of it has been handled; otherwise it would stop again at once.
    const share = this.#isPaused ? 0.5 : 1;
    const isFull =
      this.#isOutputBehind ||
      this.#bytes > maxWaitingBytes * share ||
      this.#messages > maxWaitingMessages * share;
    if (isFull === this.#isPaused) return;
    this.#isPaused = isFull;
    if (isFull) this.#socket.pause();
    else this.#socket.resume();
  }
}
