// Decides when an agent wants no new work: its memory or its machine's load is above the configured limit.
import type { BusyReason } from '@opsconductor/protocol';

export interface BusyLimits {
  /** Limit on this process's resident memory. */
  maxRssBytes?: number | undefined;
  /** Limit on the machine's load average over one minute. */
  maxLoad?: number | undefined;
}

/** Returns why the agent takes nothing new, memory before load; undefined if neither is a reason. */
export function busyReasonOf(
  { maxRssBytes, maxLoad }: BusyLimits,
  used: { rssBytes: number; loadAverage: number },
): BusyReason | undefined {
  if (maxRssBytes !== undefined && used.rssBytes > maxRssBytes) return 'memory';
  if (maxLoad !== undefined && used.loadAverage > maxLoad) return 'load';
  return undefined;
}
