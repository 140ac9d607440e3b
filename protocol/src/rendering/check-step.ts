// Checks a step's placeholders when a job is saved: each must refer to something, and stand where its value remains
// data.
import type { ErrorDetail } from '../api/errors.ts';
import { type RenderableStep, readStep } from './placeholders/read-step.ts';
import type { RenderScope } from './placeholders/scope.ts';
import { analyzeField } from './sites/analyze-field.ts';

/**
 * Returns everything that is wrong with a step's placeholders, each problem with line, column and the right way to
 * write it. `scopeOf` makes the scope.
 */
export function checkStep(step: RenderableStep, scope: RenderScope): ErrorDetail[] {
  const { fields, problems } = readStep(step, scope);
  return [...problems, ...fields.flatMap((field) => analyzeField(field, fields).problems)];
}
