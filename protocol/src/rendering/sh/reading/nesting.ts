// Where parsing stops: at what is no script that the parsers understand, and at what is nested too deep or too long.

const maxDepth = 100;
/** Number of commands and expansions. */
const maxParts = 20_000;
/** How much text for shells inside the script is read, in characters; twice the script if that is more. */
const minReread = 256 * 1024;

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
  #rereadLeft: number;

  /** @param length Number of characters of the whole script. */
  constructor(length = 0) {
    this.#rereadLeft = Math.max(minReread, 2 * length);
  }

  /** Before text that the script writes for a shell is read as a script: several shells may read the same text. */
  reread(length: number, at: number): void {
    this.#rereadLeft -= length;
    if (this.#rereadLeft < 0) throw new Unreadable('its shells read too much of it again', at, true);
  }

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
