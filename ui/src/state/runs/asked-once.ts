// A request whose answer was lost may have been done. Asked again, it goes out as it was, with the key by which the
// server knows it.
import { ApiError } from '../../api/client.ts';

interface Asked<Body> {
  key: string;
  body: Body;
  at: number;
  /** Tries of it that may have been done: under way, or without an answer. */
  open: number;
}

export class AskedOnce<Body> {
  readonly #unanswered = new Map<string, Asked<Body>>();

  /** When the last one without an answer went out, ms since the epoch. */
  get lostAt(): number | undefined {
    return [...this.#unanswered.values()].at(-1)?.at;
  }

  /** What got no answer is not meant by what is asked from now on. */
  forget(): void {
    this.#unanswered.clear();
  }

  /** `what` tells requests apart; `make` is asked for the body where this is not the one that got no answer. */
  async ask<T>(
    what: string,
    make: () => Body | Promise<Body>,
    send: (body: Body, requestKey: string) => Promise<T>,
  ): Promise<T> {
    const asked = this.#unanswered.get(what) ?? {
      key: newKey(),
      body: await make(),
      at: Date.now(),
      open: 0,
    };
    this.#unanswered.set(what, asked);
    asked.open += 1;
    try {
      const answer = await send(asked.body, asked.key);
      this.#unanswered.delete(what);
      return answer;
    } catch (error) {
      if (error instanceof ApiError && wasRefused(error)) {
        asked.open -= 1;
        if (asked.open === 0 || !isBeforeKey(error)) this.#unanswered.delete(what);
      }
      throw error;
    }
  }
}

/** Then it was not done. */
function wasRefused({ status }: ApiError): boolean {
  return status >= 400 && status < 500;
}

/**
 * Who calls too often, or is not signed in any more, is refused before the server looks at the key: an earlier request
 * with it may have been done.
 */
function isBeforeKey({ status }: ApiError): boolean {
  return [401, 403, 429].includes(status);
}

function newKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) =>
    byte.toString(16).padStart(2, '0'),
  ).join('');
}
