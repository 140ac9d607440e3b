// Attempts as people count them. A lease that came back unbegun was none, though it leaves a gap in the numbers that
// identify attempts.
import type { Attempt, Step } from '@opsconductor/protocol';

/** How many attempts of a step there have been. An older server tells only how often it was leased. */
export function attemptsOf({ attempt, attempts }: Pick<Step, 'attempt' | 'attempts'>): number {
  return attempts ?? attempt;
}

/** Which of a step's attempts this is, from 1 on. */
export function numberOf({ attempt, number }: Pick<Attempt, 'attempt' | 'number'>): number {
  return number ?? attempt;
}
