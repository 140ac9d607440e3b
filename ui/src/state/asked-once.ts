// A request whose answer was lost may have been done. Asked again, it goes out as it was, with the key by which the
// server knows it.
import { ApiError } from '../api/client.ts';

export class AskedOnce<Body> {
  #unanswered: { what: string; key: string; body: Body } | undefined;

  /** `what` tells requests apart; `make` is asked for the body where this is not the one that got no answer. */
  async ask<T>(
    what: string,
    make: () => Body | Promise<Body>,
    send: (body: Body, requestKey: string) => Promise<T>,
  ): Promise<T> {
    if (this.#unanswered?.what !== what) this.#unanswered = { what, key: newKey(), body: await make() };
    const { body, key } = this.#unanswered;
    try {
      const answer = await send(body, key);
      this.#unanswered = undefined;
      return answer;
    } catch (error) {
      // What was refused was not done.
      if (error instanceof ApiError && error.status >= 400 && error.status < 500)
        this.#unanswered = undefined;
      throw error;
    }
  }
}

function newKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) =>
    byte.toString(16).padStart(2, '0'),
  ).join('');
}
