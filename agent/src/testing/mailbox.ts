/** Items that arrive at any time, for callers that wait for them. */
export class Mailbox<T> {
  readonly waiting: T[] = [];
  readonly #takers: { accepts: (item: T) => boolean; resolve: (item: T) => void }[] = [];

  put(item: T): void {
    const at = this.#takers.findIndex(({ accepts }) => accepts(item));
    const [taker] = at === -1 ? [] : this.#takers.splice(at, 1);
    if (taker === undefined) this.waiting.push(item);
    else taker.resolve(item);
  }

  /** Returns the first item that is accepted, now or later. */
  take(accepts: (item: T) => boolean): Promise<T> {
    const at = this.waiting.findIndex(accepts);
    const [item] = at === -1 ? [] : this.waiting.splice(at, 1);
    if (item !== undefined) return Promise.resolve(item);
    return new Promise((resolve) => this.#takers.push({ accepts, resolve }));
  }
}
