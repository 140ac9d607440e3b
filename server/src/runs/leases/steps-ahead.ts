// How many steps may be leased ahead of their turn, after the one whose turn is next (ADR 0087). A step may follow
// another without asking the server if the server has nothing to decide or to read between them.
import { type JobDefinition, limits } from '@opsconductor/protocol';
import { stepRulesOf } from '../../jobs/definition/step-rules.ts';
import { stepScopeOf } from '../values/step-scope.ts';

const maxNoted = 4_096;

export class StepsAhead {
  /** By the id of the leased step. The oldest are dropped: nothing is leased ahead after them then. */
  readonly #noted = new Map<number, number>();

  /** Notes a step that is being leased. */
  note(stepId: number, step: { definition: JobDefinition; stepNumber: number; isSigned: boolean }): void {
    const ahead = step.isSigned ? 0 : stepsAheadOf(step.definition, step.stepNumber);
    this.#noted.delete(stepId);
    if (ahead === 0) return;
    this.#noted.set(stepId, ahead);
    const [oldest] = this.#noted.keys();
    if (this.#noted.size > maxNoted && oldest !== undefined) this.#noted.delete(oldest);
  }

  /** Returns how many steps may be leased ahead at the end of this step, beyond the next one. */
  of(stepId: number): number {
    return this.#noted.get(stepId) ?? 0;
  }
}

const known = new WeakMap<JobDefinition, number[]>();

/** Returns how many steps in a row may each follow the one before, beginning with the second after this one. */
export function stepsAheadOf(definition: JobDefinition, stepNumber: number): number {
  const counts = known.get(definition) ?? countsOf(definition);
  known.set(definition, counts);
  return counts[stepNumber] ?? 0;
}

/** By step number: for step n, those that may follow step n + 1, up to the first that may not. */
function countsOf(definition: JobDefinition): number[] {
  const counts: number[] = [];
  if (stepRulesOf(definition) !== null) return counts;
  let inARow = 0;
  for (let number = definition.steps.length; number >= 1; number -= 1) {
    counts[number - 1] = inARow;
    inARow = mayFollow(definition, number) ? Math.min(inARow + 1, limits.maxStepsAhead - 1) : 0;
  }
  return counts;
}

/**
 * Whether the step may begin as soon as the one before it has succeeded: its outputs can be refused by the server, and
 * what the step is rendered with must be known before.
 */
function mayFollow(definition: JobDefinition, stepNumber: number): boolean {
  const step = definition.steps[stepNumber - 1];
  const before = definition.steps[stepNumber - 2];
  if (step === undefined || before === undefined || before.outputs !== undefined) return false;
  return (stepScopeOf(definition, stepNumber)?.stepsBefore.size ?? 0) === 0;
}
