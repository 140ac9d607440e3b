import {
  checkDefinition,
  type ErrorDetail,
  type JobDefinition,
  maxDefinitionProblems,
  sizeProblems,
} from '@opsconductor/protocol';
import { AppError } from '../../errors.ts';
import { schemaProblems } from '../../validation/schema-problems.ts';
import { withUnstorableText } from '../../validation/storable-text.ts';

/**
 * Checks a whole definition and returns it with defaults filled in. The given value is not changed.
 * @throws {AppError} `invalid`, with a detail for each place that is wrong (`steps[2].config.timeout`).
 */
export function validateDefinition(value: unknown): JobDefinition {
  const { definition, problems } = examineDefinition(value);
  refuseDefinition(problems);
  return definition as JobDefinition;
}

/** Returns the definition with defaults filled in as far as it is valid, and its problems. */
export function examineDefinition(value: unknown): { definition: unknown; problems: ErrorDetail[] } {
  const excess = sizeProblems(value);
  if (excess.length > 0) return { definition: value, problems: excess };
  const definition: unknown = structuredClone(value);
  const problems = checkDefinition(definition, { checkSchema: schemaProblems });
  return { definition, problems: withUnstorableText(problems, definition) };
}

/** @throws {AppError} `invalid` if there are problems; its message counts them and quotes the first. */
export function refuseDefinition(problems: readonly ErrorDetail[]): void {
  const [first] = problems;
  if (first === undefined) return;
  const told = first.path === '' ? first.message : `${first.path}: ${first.message}`;
  const message =
    problems.length === 1 ? told : `The job definition has ${problems.length} problems. The first: ${told}`;
  throw new AppError('invalid', message, { details: problems.slice(0, maxDefinitionProblems) });
}
