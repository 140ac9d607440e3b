// A refusal costs the server nearly what an answer does, so who asks on and on although they are refused gets one at a time, with
// a pause before each.
const pauseMs = 20;
/** Who asks on so many connections that it would come to more than this is answered all the same. */
const mostMs = 2_000;

export class RefusalPauses {
  readonly #waiting = new Map<string, number>();

  /** For so long as those of the same caller take that wait already, and one pause more; `caller`: a session or a token. */
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
