// A request whose answer was lost may have been carried out. A retry sends the same body with the same key, so that the
// server recognizes it and doesn't do it twice.
import { ApiError } from '../../api/client.ts';

interface Asked<Body> {
  key: string;
  /** Being made, for all who ask meanwhile. */
  body: Promise<Body>;
  at: number;
  /** Number of tries that may have been carried out: those under way or without an answer. */
  open: number;
}

export class AskedOnce<Body> {
  readonly #unanswered = new Map<string, Asked<Body>>();

  /** When the last request without an answer was sent, ms since the epoch. */
  get lostAt(): number | undefined {
    return [...this.#unanswered.values()].at(-1)?.at;
  }

  /** Forgets the requests without an answer: later ones are new, not retries. */
  forget(): void {
    this.#unanswered.clear();
  }

  /**
   * Sends a request, as a retry if the same one got no answer before.
   * @param what identifies the request
   * @param make makes the body; called only if this isn't a retry
   */
  async ask<T>(
    what: string,
    make: () => Body | Promise<Body>,
    send: (body: Body, requestKey: string) => Promise<T>,
  ): Promise<T> {
    const asked = this.#unanswered.get(what) ?? {
      key: newKey(),
      body: Promise.resolve().then(make),
      at: Date.now(),
      open: 0,
    };
    this.#unanswered.set(what, asked);
    const body = await asked.body.catch((error: unknown) => {
      // Nothing was sent.
      if (this.#unanswered.get(what) === asked) this.#unanswered.delete(what);
      throw error;
    });
    asked.open += 1;
    try {
      const answer = await send(body, asked.key);
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

/** Returns whether the server refused the request, which means that it did not carry it out. */
function wasRefused({ status }: ApiError): boolean {
  return status >= 400 && status < 500;
}

/**
 * Returns whether the refusal came before the server looked at the key (rate limit, sign-in, rights). If so, an earlier
 * request with that key may still have been carried out.
 */
function isBeforeKey({ status }: ApiError): boolean {
  return [401, 403, 429].includes(status);
}

function newKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) =>
    byte.toString(16).padStart(2, '0'),
  ).join('');
}
