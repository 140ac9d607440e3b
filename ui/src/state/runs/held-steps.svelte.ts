// What of a run waits for a person: read again whenever a step is held or is no longer, and now and then between.
import type { HeldSteps, Step } from '@opsconductor/protocol';
import { fetchHeldSteps, fetchOutput } from '../../api/runs.ts';
import { inflateChunk } from '../../output/inflate.ts';
import { lastLineOf } from '../../output/last-line.ts';
import { Query } from '../query.svelte.ts';
import type { Host } from './run-view.svelte.ts';

/** Who may decide, and what answers lead to, may change without a step changing. */
const againAfterMs = 30_000;

export class HeldStepsView {
  readonly query: Query<HeldSteps>;

  constructor(runId: number) {
    this.query = new Query((signal) => fetchHeldSteps(runId, signal));
  }

  /** Reads for what is held now; nothing is asked where nothing is. Answers what ends it. */
  follow(marks: string): (() => void) | undefined {
    if (marks !== '') return this.query.start(againAfterMs);
    this.query.reset();
    return undefined;
  }
}

/**
 * Changes whenever another step is held, or another attempt of one; '' when none is.
 *
 * @param holds where not all steps are known: grows with each step that is held.
 */
export function heldMarks(hosts: readonly Host[], holds?: number): string {
  const marks: string[] = [];
  for (const { targetRun, steps } of hosts) {
    if (targetRun.status !== 'held' && targetRun.status !== 'running') continue;
    if (holds === undefined) {
      for (const step of steps) if (step.status === 'held') marks.push(`${step.id}.${step.attempt}`);
    } else if (targetRun.status === 'held') marks.push(String(targetRun.id));
  }
  return marks.length === 0 || holds === undefined ? marks.join() : `${marks.join()}.${holds}`;
}

/** The last line that a step has written, as far as it is stored. */
export async function readLastLine(
  runId: number,
  step: Pick<Step, 'id' | 'attempt' | 'outputSeq'>,
  signal?: AbortSignal,
): Promise<string> {
  if (step.outputSeq === 0) return '';
  const range = { after: step.outputSeq - 1, maxBytes: 1, attempt: step.attempt };
  const { chunks } = await fetchOutput(runId, step.id, range, signal);
  const last = chunks.at(-1);
  return last === undefined ? '' : lastLineOf(await inflateChunk(last.data, last.rawLength));
}
