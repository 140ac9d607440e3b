// What the outer schema of a job definition can't say: each step's configuration by its type's own schema, and names
// that must differ. Everything that is wrong is told at once.
import {
  type ErrorDetail,
  errorDetails,
  type JobDefinition,
  JobDefinitionSchema,
  stepConfigSchema,
  validatorOptions,
} from '@opsconductor/protocol';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import type { TSchema } from 'typebox';
import { AppError } from '../errors.ts';
import { refuseUnstorableText } from '../storable-text.ts';

const maxDetails = 50;
const ajv = new Ajv2020({ ...validatorOptions, allErrors: true });
const compiled = new WeakMap<TSchema, ValidateFunction>();

/**
 * Checks a definition whole and returns it with defaults filled in. The value given is left as it is.
 *
 * @throws {AppError} `invalid`, with a detail for each place that is wrong (`steps[2].config.timeout`).
 */
export function validateDefinition(value: unknown): JobDefinition {
  const definition: unknown = structuredClone(value);
  const details = problemsOf(JobDefinitionSchema, definition, '');
  const steps = stepsOf(definition);
  steps.forEach((step, at) => {
    details.push(...configProblems(step, at));
  });
  details.push(...nameProblems(steps));
  const [first] = details;
  if (first !== undefined) {
    const message =
      details.length === 1
        ? `${first.path}: ${first.message}`
        : `The job definition has ${details.length} problems. The first: ${first.path}: ${first.message}`;
    throw new AppError('invalid', message, { details: details.slice(0, maxDetails) });
  }
  refuseUnstorableText(definition);
  return definition as JobDefinition;
}

type LooseStep = { name?: unknown; type?: unknown; config?: unknown };

/** The steps as far as they are objects; the outer schema tells of the rest. */
function stepsOf(definition: unknown): LooseStep[] {
  const { steps } = Object(definition) as { steps?: unknown };
  return Array.isArray(steps) ? steps.map((step) => Object(step) as LooseStep) : [];
}

function configProblems(step: LooseStep, at: number): ErrorDetail[] {
  if (typeof step.type !== 'string' || !('config' in step)) return [];
  const schema = stepConfigSchema(step.type);
  return schema === undefined ? [] : problemsOf(schema, step.config, `steps[${at}].config`);
}

function nameProblems(steps: readonly LooseStep[]): ErrorDetail[] {
  const firstAt = new Map<string, number>();
  return steps.flatMap(({ name }, at) => {
    if (typeof name !== 'string') return [];
    const before = firstAt.get(name);
    if (before === undefined) {
      firstAt.set(name, at);
      return [];
    }
    return [
      {
        path: `steps[${at}].name`,
        message: `Step ${before + 1} has this name too; give each step a name of its own.`,
        found: JSON.stringify(name.slice(0, 100)),
      },
    ];
  });
}

function problemsOf(schema: TSchema, value: unknown, root: string): ErrorDetail[] {
  let check = compiled.get(schema);
  if (check === undefined) {
    check = ajv.compile(schema);
    compiled.set(schema, check);
  }
  return check(value) ? [] : errorDetails(check.errors, { root, max: maxDetails });
}
