// Job definitions and what lists say of them. A definition is stored as an immutable version.
import { type Static, Type } from 'typebox';
import { limits } from '../limits.ts';
import { runStatuses } from '../states.ts';
import { Closed, Id, Nullable, pageQuery, Timestamp } from './common.ts';
import { JobConnectionSchema } from './connection-settings.ts';
import { selectionFields } from './selection.ts';
import { Description, DisplayName } from './text.ts';

/** Step types this server knows. Each has a configuration schema of its own (protocol/src/steps). */
export const stepTypes = ['ssh.exec'] as const;
export type StepTypeName = (typeof stepTypes)[number];

export const StepDefinitionSchema = Closed({
  name: DisplayName(),
  type: Type.Enum(stepTypes),
  /** For this step alone; stands before the job's. */
  connection: Type.Optional(JobConnectionSchema),
  config: Type.Unknown({ description: 'What the step type asks for; checked by its own schema' }),
});
export const JobDefinitionSchema = Closed({
  name: DisplayName(),
  description: Type.Optional(Description(10_000)),
  /** Name of the category, `general` when left out. It belongs to the job and not to a version. */
  category: Type.Optional(DisplayName()),
  /** Seconds that a run may wait for its first step to start; then it ends `timed_out`. */
  start_within: Type.Optional(
    Type.Integer({ minimum: 1, maximum: 30 * 86_400, default: limits.startWithinS }),
  ),
  /** Stands before what targets, groups and segments give. */
  connection: Type.Optional(JobConnectionSchema),
  steps: Type.Array(StepDefinitionSchema, { minItems: 1, maxItems: limits.maxStepsPerJob }),
});
export type JobDefinition = Static<typeof JobDefinitionSchema>;
export type StepDefinition = Static<typeof StepDefinitionSchema>;

const JobRunMark = Type.Object({
  id: Id,
  status: Type.Enum(runStatuses),
  createdAt: Timestamp,
  executionTimeMs: Nullable(Type.Integer()),
});
const jobFields = {
  id: Id,
  name: Type.String(),
  description: Type.String(),
  category: Type.String(),
  version: Type.Integer(),
  isActive: Type.Boolean(),
  stepCount: Type.Integer(),
  stepTypes: Type.Array(Type.String()),
  createdBy: Type.String(),
  createdAt: Timestamp,
  updatedAt: Timestamp,
};
export const JobListItemSchema = Type.Object({
  ...jobFields,
  /** The last 20 runs, newest first. */
  lastRuns: Type.Array(JobRunMark),
});
export type JobListItem = Static<typeof JobListItemSchema>;
export const JobSchema = Type.Object({
  ...jobFields,
  /** With defaults filled in. */
  definition: JobDefinitionSchema,
  checksum: Type.String({
    description: 'SHA-256 of the definition as stored, which is without its category; hex',
  }),
});
export type Job = Static<typeof JobSchema>;
export const JobQuerySchema = Closed({
  ...pageQuery,
  search: Type.Optional(Type.String({ maxLength: 100 })),
  category: Type.Optional(Type.String({ maxLength: 100, description: 'Name of a category' })),
});
/** A job is created from its bare definition. */
export const CreateJobRequestSchema = JobDefinitionSchema;

export const StartRunRequestSchema = Closed({
  ...selectionFields,
  start_within: Type.Optional(Type.Integer({ minimum: 1, maximum: 30 * 86_400 })),
});

export const JobsHealthSchema = Type.Object({
  status: Type.Enum(['ok', 'degraded']),
  jobs: Type.Integer(),
  openRuns: Type.Integer(),
  /** What is wrong, in words; empty when nothing is. */
  problems: Type.Array(Type.String()),
});
