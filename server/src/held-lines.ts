// Keeps lines of the log back while something is shown to people in the same output: the log would stand in the middle of
// what they read.

/** Where lines are written. */
interface Lines {
  write(text: string): unknown;
}

/** The level is the first thing in a line of JSON, and follows the time in a plain one. */
const urgent = /^(?:\{"level":"|[\d:.]{12} )(?:warn|error|fatal)\b/;
const maxHeld = 1_000;

/** Passes lines on, in their order, or holds them until a warning or worse comes, there are many, or the hold ends. */
export class HeldLines implements Lines {
  readonly #to: Lines;
  #held: string[] = [];
  #isHolding = false;

  constructor(to: Lines) {
    this.#to = to;
  }

  write(line: string): void {
    this.#held.push(line);
    if (!this.#isHolding || urgent.test(line) || this.#held.length >= maxHeld) this.#flush();
  }

  hold(): void {
    this.#isHolding = true;
  }

  release(): void {
    this.#isHolding = false;
    this.#flush();
  }

  #flush(): void {
    const lines = this.#held;
    this.#held = [];
    for (const line of lines) this.#to.write(line);
  }
}
