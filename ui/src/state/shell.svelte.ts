// What the frame around every page shows about the whole installation.
import type { ExecutorOverview } from '@opsconductor/protocol';
import { fetchExecutorOverview } from '../api/runs.ts';
import { count, counted } from '../format/quantity.ts';
import { Query } from './query.svelte.ts';

const everyMs = 10_000;

class Shell {
  readonly #overview = new Query<ExecutorOverview>(fetchExecutorOverview);
  helpOpen = $state(false);
  goToOpen = $state(false);

  /** Number of steps that wait for a person. */
  readonly held = $derived(this.#overview.data?.heldSteps ?? 0);
  /** How many segments the person may read, once known. */
  readonly segmentCount = $derived(totalOf(this.#overview.data?.segments));
  /** `4 segments, 1 degraded, 1 offline` */
  readonly segments = $derived(describeSegments(this.#overview.data?.segments));

  /** Keeps it up to date; only for a person who may read anything. Returns the function that ends this. */
  watch(): () => void {
    return this.#overview.start(everyMs);
  }

  /** Reads it again now: the person has changed what it counts. */
  reload(): void {
    void this.#overview.load();
  }
}

function totalOf(counts: ExecutorOverview['segments'] | undefined): number | undefined {
  return counts === undefined ? undefined : Object.values(counts).reduce((sum, number) => sum + number, 0);
}

function describeSegments(counts: ExecutorOverview['segments'] | undefined): string {
  if (counts === undefined) return '';
  const total = totalOf(counts) ?? 0;
  if (total === 0) return 'no segments';
  const parts = [counted(total, 'segment')];
  for (const [health, word] of [
    ['degraded', 'degraded'],
    ['offline', 'offline'],
    ['no_agent', 'without an agent'],
  ] as const) {
    if (counts[health] > 0) parts.push(`${count(counts[health])} ${word}`);
  }
  return parts.join(', ');
}

export const shell = new Shell();
