// How long to wait before retrying a request that the server did not answer.

const pausesMs = [500, 1_000, 2_000, 4_000, 8_000, 15_000];

/** Returns the wait in ms after this many earlier failures, with jitter so that clients don't all retry at once. */
export function pauseMs(failures: number, atLeast = 0): number {
  const wait = pausesMs[Math.min(failures, pausesMs.length - 1)] ?? 15_000;
  return Math.max(atLeast, wait) * (0.75 + Math.random() / 2);
}

/** Ends those pauses that go on. */
const pausing = new Set<() => void>();
let isAnswering = true;

/** Called after each request. The first answer after a time without any ends all pauses. */
export function serverAnswered(answered: boolean): void {
  const isBack = answered && !isAnswering;
  isAnswering = answered;
  if (isBack) for (const done of [...pausing]) done();
}

/** Waits for `ms`, or until the signal is aborted, the browser reports that the network is back, or the server is. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      pausing.delete(done);
      signal.removeEventListener('abort', done);
      globalThis.removeEventListener?.('online', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    pausing.add(done);
    signal.addEventListener('abort', done, { once: true });
    globalThis.addEventListener?.('online', done, { once: true });
  });
}
