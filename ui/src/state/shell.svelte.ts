// What the frame around every page says of the whole installation.
import type { ExecutorStatus, Segment } from '@opsconductor/protocol';
import { listSegments } from '../api/agents/segments.ts';
import { fetchExecutorStatus } from '../api/runs.ts';
import { Query } from './query.svelte.ts';

interface Overview {
  segments: Segment[];
  executor: ExecutorStatus;
}

const everyMs = 10_000;

class Shell {
  readonly #overview = new Query<Overview>(async (signal) => {
    const [segments, executor] = await Promise.all([listSegments(signal), fetchExecutorStatus(signal)]);
    return { segments, executor };
  });
  helpOpen = $state(false);
  goToOpen = $state(false);

  /** Steps that wait for a person. */
  readonly held = $derived(this.#overview.data?.executor.steps.held ?? 0);
  /** `4 segments, 1 degraded, 1 offline` */
  readonly segments = $derived(describeSegments(this.#overview.data?.segments));

  /** For who may read anything. */
  watch(): () => void {
    return this.#overview.start(everyMs);
  }
}

function describeSegments(segments: Segment[] | undefined): string {
  if (segments === undefined) return '';
  if (segments.length === 0) return 'no segments';
  const parts = [segments.length === 1 ? '1 segment' : `${segments.length} segments`];
  for (const [health, word] of [
    ['degraded', 'degraded'],
    ['offline', 'offline'],
    ['no_agent', 'without an agent'],
  ] as const) {
    const number = segments.filter((segment) => segment.health === health).length;
    if (number > 0) parts.push(`${number} ${word}`);
  }
  return parts.join(', ');
}

export const shell = new Shell();
