// Job definitions and what lists say of them. A definition is stored as an immutable version.
import { type Static, Type } from 'typebox';
import { limits } from '../limits.ts';
import { retryReasons } from '../outcome.ts';
import { runStatuses } from '../states.ts';
import { Closed, Id, Nullable, pageQuery, Timestamp } from './common.ts';
import { JobConnectionSchema } from './connection-settings.ts';
import {
  Expression,
  Identifier,
  ParameterRuleSchema,
  ParametersSchema,
  StepOutputsSchema,
} from './parameters.ts';
import { selectionFields } from './selection.ts';
import { LockSchema, Priority, StrategySchema } from './strategy.ts';
import { Description, DisplayName } from './text.ts';

/** Step types this server knows. Each has a configuration schema of its own (protocol/src/steps). */
export const stepTypes = ['ssh.exec', 'winrm.exec'] as const;
export type StepTypeName = (typeof stepTypes)[number];

/** What follows an attempt of which it isn't known how it ended. */
export const onUnknownChoices = ['fail', 'hold', 'retry'] as const;
export type OnUnknown = (typeof onUnknownChoices)[number];
/** After what outcome of the steps before it a step runs. */
export const whenStatuses = ['success', 'failure', 'always'] as const;
export type WhenStatus = (typeof whenStatuses)[number];

export const RetryPolicySchema = Closed({
  /** Tries in all, the first one included. */
  attempts: Type.Integer({ minimum: 2, maximum: limits.maxTries }),
  /** Before the second try, in seconds; a fifth more or less by chance, so that hosts don't all return at once. */
  delay: Type.Optional(Type.Number({ minimum: 0, maximum: limits.maxRetryDelayS, default: 10 })),
  /** Each further delay is that many times the one before. */
  backoff: Type.Optional(Type.Number({ minimum: 1, maximum: 10, default: 2 })),
  /** No delay is longer, in seconds. */
  max_delay: Type.Optional(Type.Number({ minimum: 0, maximum: limits.maxRetryDelayS, default: 3_600 })),
  /** Reasons to try again on. Unless told: those that may be different a moment later, `exit_code` among them. */
  on: Type.Optional(
    Type.Array(Type.Enum(retryReasons), { minItems: 1, maxItems: retryReasons.length, uniqueItems: true }),
  ),
});
export type RetryPolicy = Static<typeof RetryPolicySchema>;

export const StepDefinitionSchema = Closed({
  name: DisplayName(),
  /** How other steps refer to it; its name serves where that is an identifier itself. */
  id: Type.Optional(Identifier()),
  type: Type.Enum(stepTypes),
  /** The step is skipped on targets where this is false; steps after it go on. */
  when: Type.Optional(Expression()),
  /** What it hands on to later steps, by name. */
  outputs: Type.Optional(StepOutputsSchema),
  /** For this step alone; stands before the job's. */
  connection: Type.Optional(JobConnectionSchema),
  /**
   * When the agent was cut off and what happened on the target isn't known: `fail` ends the step `unknown`, `hold` waits
   * for a person, `retry` runs it again and needs `idempotent`. `fail` unless told.
   */
  on_unknown: Type.Optional(Type.Enum(onUnknownChoices)),
  /** Running it twice does no harm. */
  idempotent: Type.Optional(Type.Boolean()),
  /** How long a held step waits for a decision, in seconds, before it ends `unknown`; a day unless told. */
  hold_for: Type.Optional(Type.Integer({ minimum: 60, maximum: limits.maxHoldForS })),
  /** Tries it again when it failed or timed out and is known to have ended. */
  retry: Type.Optional(RetryPolicySchema),
  /**
   * `success` (unless told): when all steps before it succeeded. `failure`: when one failed, timed out or was cancelled.
   * `always`: in both cases. A target run ends as the step that failed first, whatever becomes of those that follow.
   */
  when_status: Type.Optional(Type.Enum(whenStatuses)),
  config: Type.Unknown({ description: 'What the step type asks for; checked by its own schema' }),
});
const RunTimeout = Type.Integer({
  minimum: 1,
  maximum: 30 * 86_400,
  description:
    'Seconds that a run may take from its first lease; then steps that wait end `timed_out` and those that run are stopped',
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
  priority: Type.Optional(Priority),
  /** Without one all targets start at once and each goes on, whatever becomes of the others. */
  strategy: Type.Optional(StrategySchema),
  /** What each target run holds from its first lease to its end. */
  locks: Type.Optional(Type.Array(LockSchema, { minItems: 1, maxItems: limits.maxLocksPerJob })),
  timeout: Type.Optional(RunTimeout),
  /** What whoever runs it gives; `${{ parameters.name }}` in the steps. */
  parameters: Type.Optional(ParametersSchema),
  /** What must hold between parameters. */
  rules: Type.Optional(Type.Array(ParameterRuleSchema, { maxItems: limits.maxParameterRules })),
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
  /** Above the job's own: for who may edit the job. */
  priority: Type.Optional(Priority),
  /** In place of the job's; where it has one, for who may edit the job. */
  strategy: Type.Optional(StrategySchema),
  /** Longer than the job's own: for who may edit the job. */
  timeout: Type.Optional(RunTimeout),
});
export const rerunChoices = ['failed', 'unknown', 'not_succeeded', 'all'] as const;
export type RerunChoice = (typeof rerunChoices)[number];
export const RerunRequestSchema = Closed({
  which: Type.Enum(rerunChoices, {
    description:
      'Targets on which the run ended so. `failed`: failed or timed out. `not_succeeded`: also cancelled and unknown.',
  }),
  from_step: Type.Optional(
    Type.Union([Type.Integer({ minimum: 1, maximum: limits.maxStepsPerJob }), Type.Literal('failed')], {
      description:
        'Number of the first step to run; `failed`: on each target the first that did not succeed. Those before are skipped',
    }),
  ),
});
export type RerunRequest = Static<typeof RerunRequestSchema>;

export const JobsHealthSchema = Type.Object({
  status: Type.Enum(['ok', 'degraded']),
  jobs: Type.Integer(),
  openRuns: Type.Integer(),
  /** What is wrong, in words; empty when nothing is. */
  problems: Type.Array(Type.String()),
});
