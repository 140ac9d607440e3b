/** The longest that other work of the agent has to wait, in ms. */
const turnMs = 25;

/** A turn of work that may take long without ever waiting for anything: whoever does it has to end its turns. */
export class Turn {
  #beganMs = performance.now();

  get isOver(): boolean {
    return performance.now() - this.#beganMs > turnMs;
  }

  /** Lets other work go on. */
  async next(): Promise<void> {
    await new Promise(setImmediate);
    this.#beganMs = performance.now();
  }
}
