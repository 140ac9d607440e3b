// Text that comes in pieces, as lines. Each piece is looked at once, however long the line is that it belongs to.

export class Lines {
  readonly #maxChars: number;
  #parts: string[] = [];
  #chars = 0;

  /** @param maxChars What of a line is beyond them may be left out. */
  constructor(maxChars: number) {
    this.#maxChars = maxChars;
  }

  /** Whether the line whose end has not come is longer than it may be. */
  get isTooLong(): boolean {
    return this.#chars > this.#maxChars;
  }

  /** The lines that end in this piece, without their ends. */
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
