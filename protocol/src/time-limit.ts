/**
 * Returns a signal that aborts after the time, also if only `AbortSignal.any` refers to it. Node 20 lets a garbage
 * collection take such a signal, which then never aborts, unless somebody listens to it.
 */
export function timeLimit(ms: number): AbortSignal {
  const limit = AbortSignal.timeout(ms);
  limit.addEventListener('abort', () => undefined, { once: true });
  return limit;
}
