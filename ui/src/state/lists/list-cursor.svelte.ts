// The row of a list that the keyboard is on.

export class ListCursor {
  #at = $state(0);
  readonly #count: () => number;

  constructor(count: () => number) {
    this.#count = count;
  }

  /** -1 in an empty list. */
  get at(): number {
    return Math.min(this.#at, this.#count() - 1);
  }
  set at(index: number) {
    this.#at = Math.max(0, index);
  }

  /** Moves by up to `by` rows, within the list, and scrolls that child of `rows` into view. */
  move(by: number, rows?: HTMLElement): void {
    this.at = Math.min(this.#count() - 1, this.at + by);
    rows?.children[this.at]?.scrollIntoView({ block: 'nearest' });
  }
}
