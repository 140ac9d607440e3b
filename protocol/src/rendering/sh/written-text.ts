/**
 * What the literal text of a word means for a value after it. Looks at each character once, however many values follow.
 */
export class WrittenText {
  /** `~`, `name=~user`: what follows would be part of the user's name. */
  isBehindTilde = false;
  endsWithDollar = false;
  /** `-`, `--`, `-x`: what follows completes an option. */
  beginsOption = false;
  /** Exactly `NAME=`. */
  isNameAndEquals = false;
  isEmpty = true;
  #length = 0;
  #onlyDashes = true;
  #isBehindBoundary = true;
  #start = '';

  add(text: string): void {
    if (text === '') return;
    for (const char of text) {
      if (char === '/') this.isBehindTilde = false;
      else if (char === '~' && this.#isBehindBoundary) this.isBehindTilde = true;
      this.#isBehindBoundary = char === '=' || char === ':';
      if (char !== '-') this.#onlyDashes = false;
    }
    this.isEmpty = false;
    this.endsWithDollar = text.endsWith('$');
    this.#length += text.length;
    // Nobody writes a longer name than this.
    if (this.#start.length < 1_000) this.#start += text.slice(0, 1_000);
    this.beginsOption = this.#onlyDashes || (this.#length === 2 && /^-[A-Za-z0-9]$/.test(this.#start));
    this.isNameAndEquals = this.#length < 1_000 && /^[A-Za-z_]\w*\+?=$/.test(this.#start);
  }
}
