// So many at a time; the others wait in the order in which they came.
export class Turns {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(atATime: number) {
    this.#free = atATime;
  }

  /** Whether somebody waits for a turn. */
  get areAwaited(): boolean {
    return this.#waiting.length > 0;
  }

  /** Resolves when it is the caller's turn, who says `done` afterwards, whatever happened. */
  async take(): Promise<void> {
    if (this.#free > 0) {
      this.#free -= 1;
      return;
    }
    await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  done(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free += 1;
    else next();
  }
}
