// The steps of a run that wait for a person. They are read again whenever a step becomes held or stops being held, and
// regularly in between.
import type { HeldSteps, Step } from '@opsconductor/protocol';
import { fetchHeldSteps, fetchOutput } from '../../api/runs.ts';
import { inflateChunk } from '../../output/inflate.ts';
import { lastLineOf } from '../../output/last-line.ts';
import { Query } from '../query.svelte.ts';
import type { Host } from './run-hosts.svelte.ts';

/** Who may decide, and what a decision leads to, may change without any step changing. */
const againAfterMs = 30_000;

export class HeldStepsView {
  readonly query: Query<HeldSteps>;

  constructor(runId: number) {
    this.query = new Query((signal) => fetchHeldSteps(runId, signal));
  }

  /**
   * Follows the held steps; `marks` is from `heldMarks`. Returns the function that ends this, or undefined if none is
   * held.
   */
  follow(marks: string): (() => void) | undefined {
    if (marks !== '') return this.query.start(againAfterMs);
    this.query.reset();
    return undefined;
  }
}

/**
 * Returns a text that changes whenever another step, or another attempt of one, is held; '' if none is.
 *
 * @param holds if not all steps are known: a number that grows with each step that becomes held
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

/** Reads the last line that a step has printed, as far as its output is stored. */
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
