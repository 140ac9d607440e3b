/** What the literal text of a word says of a value behind it. Each character is looked at once, however many values follow. */
export class WrittenText {
  /** `~`, `name=~user`: what follows would be a part of the user's name. */
  isBehindTilde = false;
  endsWithDollar = false;
  /** `-`, `--`, `-x`: what follows completes an option. */
  beginsOption = false;
  /** `NAME=` and nothing else. */
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
    // A name that is longer than this is none that anybody wrote.
    if (this.#start.length < 1_000) this.#start += text.slice(0, 1_000);
    this.beginsOption = this.#onlyDashes || (this.#length === 2 && /^-[A-Za-z0-9]$/.test(this.#start));
    this.isNameAndEquals = this.#length < 1_000 && /^[A-Za-z_]\w*\+?=$/.test(this.#start);
  }
}
