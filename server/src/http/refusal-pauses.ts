// A refusal costs the server almost as much as an answer. A caller who keeps asking although refused therefore gets one
// refusal at a time, with a pause before each.
const pauseMs = 20;
/** Upper limit of a wait, for callers who ask on very many connections. */
const mostMs = 2_000;

export class RefusalPauses {
  readonly #waiting = new Map<string, number>();

  /**
   * Waits one pause longer than all requests of the same caller that are waiting already. `caller`: a session or a
   * token.
   */
  async take(caller: string): Promise<void> {
    const waiting = (this.#waiting.get(caller) ?? 0) + 1;
    this.#waiting.set(caller, waiting);
    const waitMs = Math.min(waiting * pauseMs, mostMs);
    await new Promise((resolve) => void setTimeout(resolve, waitMs).unref());
    const left = (this.#waiting.get(caller) ?? 1) - 1;
    if (left > 0) this.#waiting.set(caller, left);
    else this.#waiting.delete(caller);
  }
}
