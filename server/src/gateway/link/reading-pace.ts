// From when on nothing more is read from an agent: while what it has said waits to be worked off, and while the database
// is behind with output. An agent that says more than is worked off would fill this server's memory, and so end the
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

  /** Work on a message of so many bytes, until it is done; `work` never rejects. */
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

  /** The connection is being closed: its peer's answer is to be read, and what waits is dropped. */
  end(): void {
    if (this.#isPaused) this.#socket.resume();
    this.#isEnded = true;
  }

  #pauseOrResume(): void {
    if (this.#isEnded) return;
    // Half of it is worked off before reading goes on: otherwise it would stop again at once.
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
