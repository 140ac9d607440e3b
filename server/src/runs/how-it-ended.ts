import type { SettledStep } from '../store/runs/progress/progress-writes.ts';

export type HowItEnded = Pick<
  SettledStep,
  'executionTimeMs' | 'cpuMs' | 'peakMemoryBytes' | 'exitCode' | 'signal' | 'reason'
>;

/** Returns what the API and the events say of the end of a step or of an attempt (`endFields`). */
export function howItEnded(row: HowItEnded): HowItEnded {
  const { executionTimeMs, cpuMs, peakMemoryBytes, exitCode, signal, reason } = row;
  return { executionTimeMs, cpuMs, peakMemoryBytes, exitCode, signal, reason };
}
