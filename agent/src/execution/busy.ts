// When an agent wants nothing new: its own memory, or the load of its machine, is above what it was told.
import type { BusyReason } from '@opsconductor/protocol';

export interface BusyLimits {
  /** Of this process's resident memory. */
  maxRssBytes?: number | undefined;
  /** Of the machine's load average over a minute. */
  maxLoad?: number | undefined;
}

export function busyReasonOf(
  { maxRssBytes, maxLoad }: BusyLimits,
  used: { rssBytes: number; loadAverage: number },
): BusyReason | undefined {
  if (maxRssBytes !== undefined && used.rssBytes > maxRssBytes) return 'memory';
  if (maxLoad !== undefined && used.loadAverage > maxLoad) return 'load';
  return undefined;
}
