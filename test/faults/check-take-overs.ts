// Checks commands that survive their agent, if their agent was gone and others were available.
import type { Violation } from './check-round.ts';
import type { FaultInForce } from './edge-recorder.ts';
import { agents } from './plan-round.ts';
import type { RoundFacts } from './round-facts.ts';

/**
 * If only agents failed, and not all of them: each command known to survive was taken over by another agent, or resumed
 * by its own when that was back, and its end was reported.
 */
export function checkTakeOvers(
  { steps, runs, survivors }: RoundFacts,
  faults: readonly FaultInForce[],
): Violation[] {
  const gone = new Set(faults.map(({ fault }) => fault.member));
  if (gone.size === agents || faults.some(({ kind }) => kind !== 'agent-gone')) return [];
  const cancelled = new Set(
    runs.flatMap(({ planned, targetRuns }) =>
      targetRuns
        .filter(({ cancelRequestedAt }) => planned.cancel !== undefined || cancelRequestedAt !== null)
        .map(({ id }) => id),
    ),
  );
  return steps.flatMap((step) =>
    step.attempts
      .filter(({ epoch, status }) => status === 'unknown' && survivors.has(`${step.id}.${epoch}`))
      .filter(() => !cancelled.has(step.targetRunId))
      .map(({ epoch, reason }) => ({
        rule: 'take-over',
        text: `step ${step.id} attempt ${epoch} was to go on without its agent, and is unknown (${reason})`,
        runId: step.jobRunId,
        stepId: step.id,
      })),
  );
}
