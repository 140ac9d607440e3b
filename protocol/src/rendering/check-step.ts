// What saving a job checks of a step's placeholders: that each refers to something, and stands where its value is data.
import type { ErrorDetail } from '../api/common.ts';
import { analyzeField } from './analyze-field.ts';
import { type RenderableStep, readStep } from './read-step.ts';
import type { RenderScope } from './scope.ts';

/**
 * Everything that is wrong with the placeholders of a step; each with line, column and the way to write it. `scopeOf`
 * makes the scope.
 */
export function checkStep(step: RenderableStep, scope: RenderScope): ErrorDetail[] {
  const { fields, problems } = readStep(step, scope);
  return [...problems, ...fields.flatMap((field) => analyzeField(field, fields).problems)];
}
