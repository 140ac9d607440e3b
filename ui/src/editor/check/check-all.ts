// All that can be said of a definition without the server: what the shared check finds, and where placeholders may not
// stand.
import {
  checkDefinition,
  checkStep,
  type ErrorDetail,
  type JobDefinition,
  scopeOf,
} from '@opsconductor/protocol';

export function checkAll(value: unknown): ErrorDetail[] {
  const problems = checkDefinition(value);
  return [...problems, ...placeholderProblems(value)];
}

function placeholderProblems(value: unknown): ErrorDetail[] {
  const { steps } = Object(value) as { steps?: unknown };
  if (!Array.isArray(steps)) return [];
  return steps.flatMap((step, at) => {
    if (typeof Object(step).config !== 'object') return [];
    try {
      const definition = value as JobDefinition;
      return checkStep(step, scopeOf(definition, at));
    } catch {
      // What is around it is not right yet, and is told.
      return [];
    }
  });
}
