// Steps that no grant can cover, because the server learns part of what they do only during the run.
import type { StepDefinition } from '../api/jobs/jobs.ts';
import { referencesOf } from '../rendering/placeholders/references-of.ts';

export interface Unsignable {
  /** The part of the step, completing a sentence that begins with “it”. */
  part: string;
  /** What the author can do instead, as a sentence. */
  instead: string;
}

/** Returns `undefined` if the whole step can be signed. */
export function unsignablePart(step: StepDefinition): Unsignable | undefined {
  const { file } = Object(step.config) as { file?: unknown };
  if (file !== undefined) {
    return {
      part: 'copies a file of the server, whose content is not signed',
      instead:
        'Put the file on the agents’ machines and name it by `local_path`: there their owner looks after it.',
    };
  }
  // In a condition, the word alone counts: it may compute the name of a step.
  const usesSteps =
    referencesOf(step).some(({ source }) => source === 'steps') || /\bsteps\b/.test(step.when ?? '');
  if (!usesSteps) return undefined;
  return {
    part: 'uses what an earlier step has handed on, which is unknown when signing',
    instead: 'Ask for the value as a parameter, or find it out in the step that uses it.',
  };
}
