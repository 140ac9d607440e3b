/**
 * Collects what is typed into the fields of a filter and applies it once nobody has typed for a moment. It applies all
 * fields together, so that a change to one field isn't lost when someone goes on typing in the next.
 */
export class TypedChanges<T extends object> {
  readonly #apply: (change: T) => void;
  readonly #afterMs: number;
  #waiting: T | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(apply: (change: T) => void, afterMs = 200) {
    this.#apply = apply;
    this.#afterMs = afterMs;
  }

  add(change: T): void {
    this.#waiting = { ...this.#waiting, ...change } as T;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      const change = this.#waiting;
      this.#waiting = undefined;
      if (change !== undefined) this.#apply(change);
    }, this.#afterMs);
  }

  /** Discards what is waiting: all of it, or only the change to one field. */
  forget(field?: keyof T): void {
    const others = Object.entries(this.#waiting ?? {}).filter(
      ([name]) => field !== undefined && name !== field,
    );
    this.#waiting = others.length === 0 ? undefined : (Object.fromEntries(others) as T);
    if (this.#waiting === undefined) clearTimeout(this.#timer);
  }
}
