// The queue in words, segment by segment.
import type { ExecutorStatus } from '@opsconductor/protocol';
import { longDuration } from '../../format/duration.ts';

export type SegmentQueue = ExecutorStatus['segments'][number];

export interface QueueWords {
  /** The status whose shape and color it gets. */
  look: string;
  word: string;
}

export function queueWords(
  { ready, running, ableAgents, freeSlots, stuckSince }: SegmentQueue,
  now: number,
): QueueWords {
  if (stuckSince !== null)
    return {
      look: 'failed',
      word: `no agent for ${longDuration(Math.max(0, now - Date.parse(stuckSince)))}`,
    };
  if (ready > 0 && ableAgents === 0) return { look: 'queued', word: 'waits for an agent' };
  if (ready > 0 && freeSlots === 0) return { look: 'queued', word: 'waits for a free slot' };
  // Free slots, and still ready: a lock, a limit of the run, or about to be given out. The run's page says which.
  if (ready > 0) return { look: 'ready', word: 'ready' };
  if (running > 0) return { look: 'running', word: 'running' };
  return { look: 'pending', word: 'idle' };
}

export function isIdle({ ready, running }: Pick<SegmentQueue, 'ready' | 'running'>): boolean {
  return ready === 0 && running === 0;
}

/** Where nothing can go on first, then by what waits and what runs. */
export function troubleFirst(segments: readonly SegmentQueue[]): SegmentQueue[] {
  const rank = ({ stuckSince }: SegmentQueue) => (stuckSince === null ? 1 : 0);
  return segments.toSorted(
    (a, b) => rank(a) - rank(b) || b.ready - a.ready || b.running - a.running || a.name.localeCompare(b.name),
  );
}
