// The row of a list that the keyboard is on.
import { announcer } from '../announcer.svelte.ts';

export class ListCursor<Item> {
  #at = $state(0);
  readonly #items: () => readonly Item[] | undefined;

  constructor(items: () => readonly Item[] | undefined) {
    this.#items = items;
  }

  /** -1 in an empty list. */
  get at(): number {
    return Math.min(this.#at, this.#count - 1);
  }
  set at(index: number) {
    this.#at = Math.max(0, index);
  }
  get item(): Item | undefined {
    return this.#items()?.[this.at];
  }
  get #count(): number {
    return this.#items()?.length ?? 0;
  }

  /**
   * Moves by up to `by` rows, within the list, scrolls that child of `rows` into view, and says what it is: the focus
   * stays where it is.
   */
  move(by: number, rows?: HTMLElement): void {
    this.at = Math.min(this.#count - 1, this.at + by);
    const row = rows?.children[this.at];
    row?.scrollIntoView({ block: 'nearest' });
    const name = row?.querySelector('a[href], b')?.textContent?.trim();
    if (name) announcer.say(name);
  }
}
