// Where parsing stops: at what is no script that the parsers understand, and at what is nested too deep or too long.

const maxDepth = 100;
/** Number of commands and expansions. */
const maxParts = 20_000;

/** Parsing had to stop: the text is not a shell script, or not one that this parser understands. */
export class Unreadable extends Error {
  readonly at: number;
  /** Parsing it in another way would not help. */
  readonly final: boolean;
  constructor(why: string, at: number, final = false) {
    super(why);
    this.at = at;
    this.final = final;
  }
}

/**
 * Limits how deeply all parsers of one script are nested, and how much they have parsed: a hostile script must exhaust
 * neither the stack nor the server's time.
 */
export class Nesting {
  #depth = 0;
  #count = 0;

  within<T>(at: number, read: () => T): T {
    if (this.#depth >= maxDepth) throw new Unreadable('it is nested too deep', at, true);
    if (this.#count >= maxParts) throw new Unreadable(`it has more than ${maxParts} commands`, at, true);
    this.#depth += 1;
    this.#count += 1;
    try {
      return read();
    } finally {
      this.#depth -= 1;
    }
  }
}
