import { timeLimit } from '@opsconductor/protocol';

/** Time for a clean-up, in ms. */
export const cleanUpMs = 15_000;
/** Time that remains for it once its step is stopped, in ms. */
const stoppedMs = 3_000;

/**
 * Returns a signal for removing what a transfer left on its target. The signal of the step itself would prevent that if
 * the step is stopped; but a target out of reach must not delay the stop.
 */
export function cleanUpLimit(stopped: AbortSignal): AbortSignal {
  if (stopped.aborted) return timeLimit(stoppedMs);
  const soon = new AbortController();
  const shorten = () =>
    AbortSignal.timeout(stoppedMs).addEventListener('abort', () => soon.abort(), { once: true });
  stopped.addEventListener('abort', shorten, { once: true });
  return AbortSignal.any([timeLimit(cleanUpMs), soon.signal]);
}
