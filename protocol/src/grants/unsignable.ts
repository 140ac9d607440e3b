// Steps that no grant can cover: something of what they do is known only to the server, once the run goes on.
import type { StepDefinition } from '../api/jobs/jobs.ts';
import { referencesOf } from '../rendering/references-of.ts';

/** What of the step can't be signed, after “it”; undefined where all of it can be. */
export function unsignablePart(step: StepDefinition): string | undefined {
  const { file } = Object(step.config) as { file?: unknown };
  if (file !== undefined) return 'copies a file of the server, whose content is not signed';
  // In a condition the word is enough: the name of a step may be put together.
  const usesSteps =
    referencesOf(step).some(({ source }) => source === 'steps') || /\bsteps\b/.test(step.when ?? '');
  return usesSteps ? 'uses what an earlier step has handed on, which nobody knows when signing' : undefined;
}
