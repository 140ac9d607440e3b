// What the outer schema of a job definition can't say: each step's configuration by its type's own schema, and names
// that must differ. Everything that is wrong is told at once.
import {
  type ErrorDetail,
  type JobDefinition,
  JobDefinitionSchema,
  stepConfigSchema,
  visibleJson,
} from '@opsconductor/protocol';
import { AppError } from '../errors.ts';
import { schemaProblems } from '../schema-problems.ts';
import { withUnstorableText } from '../storable-text.ts';

const maxDetails = 50;

/**
 * Checks a definition whole and returns it with defaults filled in. The value given is left as it is.
 *
 * @throws {AppError} `invalid`, with a detail for each place that is wrong (`steps[2].config.timeout`).
 */
export function validateDefinition(value: unknown): JobDefinition {
  const definition: unknown = structuredClone(value);
  const problems = schemaProblems(JobDefinitionSchema, definition, { max: maxDetails });
  const steps = stepsOf(definition);
  steps.forEach((step, at) => {
    problems.push(...configProblems(step, at));
  });
  problems.push(...nameProblems(steps));
  const details = withUnstorableText(problems, definition);
  const [first] = details;
  if (first !== undefined) {
    const message =
      details.length === 1
        ? `${first.path}: ${first.message}`
        : `The job definition has ${details.length} problems. The first: ${first.path}: ${first.message}`;
    throw new AppError('invalid', message, { details: details.slice(0, maxDetails) });
  }
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
  return schema === undefined
    ? []
    : schemaProblems(schema, step.config, { root: `steps[${at}].config`, max: maxDetails });
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
        found: visibleJson(name.slice(0, 100)),
        allowed: 'a name that no other step of the job has',
      },
    ];
  });
}
