// A job definition whole: its schema, each step's configuration by its type's own, and what no schema can say. Server and
// console use the same one; everything that is wrong is told at once.
import type { TSchema } from 'typebox';
import type { ErrorDetail } from '../api/common.ts';
import { JobDefinitionSchema } from '../api/jobs.ts';
import { checkParameters } from '../parameters/check-parameters.ts';
import { checkBySchema } from '../schema-check.ts';
import { stepConfigSchema } from '../steps/registry.ts';
import { brokenParameters, conditionProblems } from './condition-problems.ts';
import { type LooseStep, looseDefinition } from './loose.ts';
import { lockProblems, nameProblems } from './name-problems.ts';
import { stepProblems } from './step-problems.ts';

export const maxDefinitionProblems = 50;

export interface CheckDefinitionOptions {
  /** Holds a value against a schema; one that fills defaults fills them in the definition. */
  checkSchema?: (schema: TSchema, value: unknown, options: { root?: string; max?: number }) => ErrorDetail[];
}

/** A detail for each place of a definition that is wrong (`steps[2].config.timeout`); none when it can be saved. */
export function checkDefinition(
  definition: unknown,
  { checkSchema = checkBySchema }: CheckDefinitionOptions = {},
): ErrorDetail[] {
  const problems = checkSchema(JobDefinitionSchema, definition, { max: maxDefinitionProblems });
  const loose = looseDefinition(definition);
  const { steps, parameters } = loose;
  const broken = brokenParameters(parameters, problems);
  problems.push(
    ...steps.flatMap((step, at) => configProblems(step, at, checkSchema)),
    ...nameProblems(loose),
    ...steps.flatMap(stepProblems),
    ...lockProblems(loose),
    ...checkParameters(parameters),
    ...conditionProblems(loose, broken),
  );
  return once(problems);
}

function configProblems(
  step: LooseStep,
  at: number,
  checkSchema: NonNullable<CheckDefinitionOptions['checkSchema']>,
): ErrorDetail[] {
  if (typeof step.type !== 'string' || !('config' in step)) return [];
  const schema = stepConfigSchema(step.type);
  if (schema === undefined) return [];
  return checkSchema(schema, step.config, { root: `steps[${at}].config`, max: maxDefinitionProblems });
}

/** Without those that say the same of the same place. */
function once(problems: readonly ErrorDetail[]): ErrorDetail[] {
  const told = new Set<string>();
  return problems.filter(({ path, message }) => {
    const key = `${path}\n${message}`;
    return told.has(key) ? false : told.add(key);
  });
}
