// Checks a step's placeholders when a job is saved: each must refer to something, and stand where its value remains
// data.
import type { ErrorDetail } from '../api/common.ts';
import { analyzeField } from './analyze-field.ts';
import { type RenderableStep, readStep } from './read-step.ts';
import type { RenderScope } from './scope.ts';

/**
 * Returns everything that is wrong with a step's placeholders, each problem with line, column and the right way to
 * write it. `scopeOf` makes the scope.
 */
export function checkStep(step: RenderableStep, scope: RenderScope): ErrorDetail[] {
  const { fields, problems } = readStep(step, scope);
  return [...problems, ...fields.flatMap((field) => analyzeField(field, fields).problems)];
}
