// A request whose answer was lost may have been done. Asked again, it goes out as it was, with the key by which the
// server knows it.
import { ApiError } from '../../api/client.ts';

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
      if (error instanceof ApiError && wasNotDone(error)) this.#unanswered = undefined;
      throw error;
    }
  }
}

/**
 * What was refused was not done. But who calls too often, or is not signed in any more, is refused before the server looks
 * at the key: an earlier request with it may have been done.
 */
function wasNotDone({ status }: ApiError): boolean {
  return status >= 400 && status < 500 && ![401, 403, 429].includes(status);
}

function newKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) =>
    byte.toString(16).padStart(2, '0'),
  ).join('');
}
