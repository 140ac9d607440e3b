// How long to wait before asking again a server that did not answer.

const pausesMs = [500, 1_000, 2_000, 4_000, 8_000, 15_000];

/** After so many failures before this one; not all at the same moment. */
export function pauseMs(failures: number, atLeast = 0): number {
  const wait = pausesMs[Math.min(failures, pausesMs.length - 1)] ?? 15_000;
  return Math.max(atLeast, wait) * (0.75 + Math.random() / 2);
}

/** Waits, but no longer than until the signal or until the browser says that the network is back. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      globalThis.removeEventListener?.('online', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done, { once: true });
    globalThis.addEventListener?.('online', done, { once: true });
  });
}
