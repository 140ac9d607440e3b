// Requests that wait for a place on a connection, oldest first. Whoever is woken looks again, and waits again if another
// was faster.
interface Waiter {
  key: string;
  wake(): void;
}

export class WaitingRequests {
  readonly #waiters = new Set<Waiter>();

  /**
   * Resolves when the request is woken; rejects with the signal's reason.
   *
   * @param key what the request can use: a connection with the same key.
   */
  wait(key: string, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const finish = (settle: () => void) => () => {
        this.#waiters.delete(waiter);
        signal?.removeEventListener('abort', onAbort);
        settle();
      };
      const waiter: Waiter = { key, wake: finish(resolve) };
      const onAbort = finish(() => reject(signal?.reason));
      signal?.addEventListener('abort', onAbort);
      this.#waiters.add(waiter);
    });
  }

  /** Wakes one request. One with the same key can use the freed place; any other needs a connection to be closed. */
  wakeOne(key: string): void {
    let other: Waiter | undefined;
    for (const waiter of this.#waiters) {
      if (waiter.key === key) {
        waiter.wake();
        return;
      }
      other ??= waiter;
    }
    other?.wake();
  }

  wakeAll(): void {
    for (const waiter of this.#waiters) waiter.wake();
  }
}
