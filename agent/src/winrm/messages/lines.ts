// Splits text that arrives in pieces into lines. Each piece is looked at once, however long its line is.

export class Lines {
  readonly #maxChars: number;
  #parts: string[] = [];
  #chars = 0;

  /** @param maxChars what a line has beyond this may be left out. */
  constructor(maxChars: number) {
    this.#maxChars = maxChars;
  }

  /** Whether the unfinished line is longer than allowed. */
  get isTooLong(): boolean {
    return this.#chars > this.#maxChars;
  }

  /** Returns the lines that end in this piece, without their line ends. */
  take(piece: string): string[] {
    const lines = piece.split('\n');
    const [first = ''] = lines;
    if (lines.length > 1) {
      lines[0] = this.#parts.join('') + first;
      this.#parts = [];
      this.#chars = 0;
    }
    const begun = lines.pop() ?? '';
    if (begun !== '' && !this.isTooLong) {
      this.#parts.push(begun);
      this.#chars += begun.length;
    }
    return lines;
  }
}
