// Steps that no grant can cover: something of what they do is known only to the server, once the run goes on.
import type { StepDefinition } from '../api/jobs/jobs.ts';
import { referencesOf } from '../rendering/references-of.ts';

export interface Unsignable {
  /** What of the step it is, after “it”. */
  part: string;
  /** What its author can do, a sentence. */
  instead: string;
}

/** Undefined where all of the step can be signed. */
export function unsignablePart(step: StepDefinition): Unsignable | undefined {
  const { file } = Object(step.config) as { file?: unknown };
  if (file !== undefined) {
    return {
      part: 'copies a file of the server, whose content is not signed',
      instead:
        'Put the file on the agents’ machines and name it by `local_path`: there their owner looks after it.',
    };
  }
  // In a condition the word is enough: the name of a step may be put together.
  const usesSteps =
    referencesOf(step).some(({ source }) => source === 'steps') || /\bsteps\b/.test(step.when ?? '');
  if (!usesSteps) return undefined;
  return {
    part: 'uses what an earlier step has handed on, which nobody knows when signing',
    instead: 'Ask for the value as a parameter, or find it out in the step that uses it.',
  };
}
