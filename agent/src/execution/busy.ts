// Decides when an agent wants no new work: its memory or its machine's load is above the configured limit.
import { loadavg } from 'node:os';
import type { BusyReason } from '@opsconductor/protocol';

export interface BusyLimits {
  /** Limit on this process's resident memory. */
  maxRssBytes?: number | undefined;
  /** Limit on the machine's load average over one minute. */
  maxLoad?: number | undefined;
}

export interface Used {
  /** This process's resident memory; left out if it can't be read. */
  rssBytes?: number;
  loadAverage: number;
}

/** Measures it. Reading the memory takes a descriptor, and with none left the agent still has to send heartbeats. */
export function measureUsed(): Used {
  const loadAverage = loadavg()[0] ?? 0;
  try {
    return { rssBytes: process.memoryUsage.rss(), loadAverage };
  } catch {
    return { loadAverage };
  }
}

/** Returns why the agent takes nothing new, memory before load; undefined if neither is a reason. */
export function busyReasonOf({ maxRssBytes, maxLoad }: BusyLimits, used: Used): BusyReason | undefined {
  if (maxRssBytes !== undefined && used.rssBytes !== undefined && used.rssBytes > maxRssBytes)
    return 'memory';
  if (maxLoad !== undefined && used.loadAverage > maxLoad) return 'load';
  return undefined;
}
