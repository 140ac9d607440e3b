// Job definitions, and how lists and pages describe jobs. A definition is stored as an immutable version.
import { type Static, Type } from 'typebox';
import { SignedGrantSchema } from '../../grants/run-grant.ts';
import { limits } from '../../limits.ts';
import { retryReasons } from '../../outcome.ts';
import { jobStates, runStatuses } from '../../states.ts';
import { DefinitionProblemSchema } from '../errors.ts';
import { LockSchema, Priority, StrategySchema } from '../runs/strategy.ts';
import { Closed, Id, Nullable, Page, pageQuery, Timestamp } from '../schema-parts.ts';
import { JobConnectionSchema } from '../targets/connection-settings.ts';
import { selectionFields } from '../targets/selection.ts';
import { LabelsSchema } from '../targets/targets.ts';
import { Description, DisplayName, descriptionPattern } from '../text.ts';
import { CategoryPath } from './categories.ts';
import {
  Expression,
  Identifier,
  ParameterRuleSchema,
  ParametersSchema,
  StepOutputsSchema,
} from './parameters.ts';
import { ParameterValuesSchema, SecretParametersSchema } from './values.ts';

/** Step types that this server knows. Each has its own configuration schema (protocol/src/steps). */
export const stepTypes = [
  'ssh.exec',
  'reboot',
  'wait_for',
  'ssh.copy',
  'sftp.upload',
  'sftp.download',
  'sftp.sync',
  'winrm.exec',
  'winrm.copy',
] as const;
export type StepTypeName = (typeof stepTypes)[number];

/** What to do after an attempt whose result is unknown. */
export const onUnknownChoices = ['fail', 'hold', 'retry'] as const;
export type OnUnknown = (typeof onUnknownChoices)[number];
/** The outcome of the previous steps after which a step runs. */
export const whenStatuses = ['success', 'failure', 'always'] as const;
export type WhenStatus = (typeof whenStatuses)[number];

export const RetryPolicySchema = Closed({
  /** Tries in all, including the first. */
  attempts: Type.Integer({ minimum: 2, maximum: limits.maxTries }),
  /**
   * Delay before the second try, in seconds; varied randomly by up to a fifth, so that hosts don't all return at once.
   */
  delay: Type.Optional(Type.Number({ minimum: 0, maximum: limits.maxRetryDelayS, default: 10 })),
  /** Factor by which each further delay is longer than the one before. */
  backoff: Type.Optional(Type.Number({ minimum: 1, maximum: 10, default: 2 })),
  /** Longest delay, in seconds. */
  max_delay: Type.Optional(Type.Number({ minimum: 0, maximum: limits.maxRetryDelayS, default: 3_600 })),
  /** Reasons to try again; by default those that may have gone away a moment later, including `exit_code`. */
  on: Type.Optional(
    Type.Array(Type.Enum(retryReasons), { minItems: 1, maxItems: retryReasons.length, uniqueItems: true }),
  ),
});
export type RetryPolicy = Static<typeof RetryPolicySchema>;

export const StepDefinitionSchema = Closed({
  name: DisplayName(),
  /** How other steps refer to it; by default its name, if that is an identifier. */
  id: Type.Optional(Identifier()),
  type: Type.Enum(stepTypes),
  /** If false on a target, the step is skipped there; later steps continue. */
  when: Type.Optional(Expression()),
  /** Values that it hands on to later steps, by name. */
  outputs: Type.Optional(StepOutputsSchema),
  /** For this step only; takes precedence over the job's. */
  connection: Type.Optional(JobConnectionSchema),
  /**
   * What to do if the agent was cut off and the result on the target is unknown: `fail` (the default) ends the step
   * `unknown`, `hold` waits for a person, `retry` runs it again and requires `idempotent`.
   */
  on_unknown: Type.Optional(Type.Enum(onUnknownChoices)),
  /** Whether running it twice does no harm. */
  idempotent: Type.Optional(Type.Boolean()),
  /** How long a held step waits for a decision before it ends `unknown`, in seconds; one day by default. */
  hold_for: Type.Optional(Type.Integer({ minimum: 60, maximum: limits.maxHoldForS })),
  /** Tries the step again if it failed or timed out and is known to have ended. */
  retry: Type.Optional(RetryPolicySchema),
  /**
   * `success` (the default): runs if all steps before it succeeded. `failure`: if one failed, timed out or was
   * cancelled. `always`: in both cases. The first step that failed decides how the target run ends, whatever follows
   * it.
   */
  when_status: Type.Optional(Type.Enum(whenStatuses)),
  config: Type.Unknown({ description: 'An object with the fields of the step type' }),
});
export const versionNamePattern = '^(?![0-9]+$)[A-Za-z0-9][A-Za-z0-9._-]{0,63}$';
/** A tag or channel. */
export const VersionNameText = Type.String({
  maxLength: 64,
  pattern: versionNamePattern,
  description: 'Letters, digits, dots, hyphens and underscores; not only digits',
});
/** How a version is named: by number, tag or channel. */
export const VersionReference = Type.Union([
  Type.Integer({ minimum: 1, maximum: 2_147_483_647 }),
  VersionNameText,
]);
const RunTimeout = Type.Integer({
  minimum: 1,
  maximum: 30 * 86_400,
  description:
    'Seconds that a run may take from its first lease; then waiting steps end `timed_out` and running steps are stopped',
});
export const JobDefinitionSchema = Closed({
  name: DisplayName(),
  description: Type.Optional(Description(10_000)),
  /** Name of the category; `general` by default. Belongs to the job, not to a version. */
  category: Type.Optional(CategoryPath()),
  /** Belong to the job, not to a version. */
  labels: Type.Optional(LabelsSchema),
  /** Other jobs are made from it; it can only be run as a trial. Belongs to the job, not to a version. */
  template: Type.Optional(Type.Boolean()),
  start_within: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: 30 * 86_400,
      default: limits.startWithinS,
      description:
        'Seconds that a run may wait for its first step to start, and each later step for an agent or a lock while nothing of the run is active in its segment; then it ends `timed_out`',
    }),
  ),
  max_open_runs: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: limits.maxOpenRuns,
      description: 'How many runs of the job may be open at a time; a start beyond that is refused',
    }),
  ),
  priority: Type.Optional(Priority),
  /** Without one, all targets start at once and are independent of each other. */
  strategy: Type.Optional(StrategySchema),
  /** Locks that each target run holds from its first lease to its end. */
  locks: Type.Optional(Type.Array(LockSchema, { minItems: 1, maxItems: limits.maxLocksPerJob })),
  timeout: Type.Optional(RunTimeout),
  /** Filled in by the person who runs the job; used in steps as `${{ parameters.name }}`. */
  parameters: Type.Optional(ParametersSchema),
  /** Conditions over several parameters. */
  rules: Type.Optional(Type.Array(ParameterRuleSchema, { maxItems: limits.maxParameterRules })),
  /** Takes precedence over settings of targets, groups and segments. */
  connection: Type.Optional(JobConnectionSchema),
  /**
   * Whether private keys and tokens of well-known forms are masked in the output too; by default as the installation is
   * configured.
   */
  detect_secrets: Type.Optional(Type.Boolean()),
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
  /** Number of the current version. */
  version: Type.Integer(),
  state: Type.Enum(jobStates),
  /** Whether the state is `active`. */
  isActive: Type.Boolean(),
  labels: LabelsSchema,
  isTemplate: Type.Boolean(),
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
/** The template that a job was made from. */
const MadeFromSchema = Type.Object({
  id: Id,
  name: Type.String(),
  /** The version of the template that the job was made from. */
  version: Type.Integer(),
  /** The template's current version. */
  newestVersion: Type.Integer(),
});
export const versionNameKinds = ['tag', 'channel'] as const;
export type VersionNameKind = (typeof versionNameKinds)[number];
/** A name of a version: a tag never moves, a channel does. */
export const VersionNameSchema = Type.Object({
  name: Type.String(),
  kind: Type.Enum(versionNameKinds),
  version: Type.Integer(),
  setBy: Type.String(),
  setAt: Timestamp,
});
export type VersionName = Static<typeof VersionNameSchema>;
export const JobSchema = Type.Object({
  ...jobFields,
  categoryId: Id,
  /** The note given with the last change of state. */
  stateNote: Type.String(),
  /** States that it can change to. */
  nextStates: Type.Array(Type.Enum(jobStates)),
  /** `null` if the job was not made from a template, or the template is gone or not visible to the caller. */
  madeFrom: Nullable(MadeFromSchema),
  /** Tags and channels. */
  names: Type.Array(VersionNameSchema),
  /** When the current version was saved, by whom, and with what note. */
  savedAt: Timestamp,
  savedBy: Type.String(),
  note: Type.String(),
  /** With defaults filled in. */
  definition: JobDefinitionSchema,
  checksum: Type.String({
    description: 'SHA-256 of the definition as stored (without category, labels and template), in hex',
  }),
});
export type Job = Static<typeof JobSchema>;
/** Violations of site rules that only warn: the definition is saved all the same. */
const warnings = Type.Optional(Type.Array(DefinitionProblemSchema));
export const CreatedJobSchema = Type.Object({ ...JobSchema.properties, warnings });
/** With `defaults=true`, the definition as it takes effect. */
export const ShownJobSchema = Type.Object({
  ...JobSchema.properties,
  defaults: Type.Optional(
    Type.Array(Type.String(), {
      description: 'Paths of values that were filled in by default; only with `defaults=true`',
    }),
  ),
  serverDefaults: Type.Optional(
    Type.Object(
      { detect_secrets: Type.Boolean() },
      { description: 'Defaults that depend on the configuration of the server that answers' },
    ),
  ),
});
export type ShownJob = Static<typeof ShownJobSchema>;
export const ShowJobQuerySchema = Closed({
  defaults: Type.Optional(
    Type.Boolean({
      description:
        'Returns the definition as it takes effect, with all defaults filled in and listed in `defaults`',
    }),
  ),
});
export type CreatedJob = Static<typeof CreatedJobSchema>;
export const jobSorts = ['name', 'updated', 'lastRun'] as const;
export type JobSort = (typeof jobSorts)[number];
/** Filters for lists and bulk actions. A job must match all that are given. */
export const jobFilters = {
  search: Type.Optional(
    Type.String({ maxLength: 100, description: 'Part of name, description or a label (`env=prod`)' }),
  ),
  category: Type.Optional(
    Type.String({ maxLength: 200, description: 'A category, including those below it' }),
  ),
  /** A list such as `env=prod,critical`: each item is `name` or `name=value`. */
  label: Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: 1_000,
      description: '`name` or `name=value`; several separated by commas',
    }),
  ),
  stepType: Type.Optional(Type.String({ maxLength: 50 })),
  state: Type.Optional(
    Type.String({
      maxLength: 100,
      description: 'One or more states, comma-separated; by default all but archived',
    }),
  ),
  author: Type.Optional(Type.String({ maxLength: 100, description: 'Name of its creator' })),
  lastResult: Type.Optional(
    Type.String({
      maxLength: 200,
      description: 'Status of its last run: one or more, comma-separated; `none` if it has never run',
    }),
  ),
  createdAfter: Type.Optional(Timestamp),
  createdBefore: Type.Optional(Timestamp),
  updatedAfter: Type.Optional(Timestamp),
  updatedBefore: Type.Optional(Timestamp),
  template: Type.Optional(Type.Boolean({ description: '`true`: only templates; `false`: only other jobs' })),
  madeFrom: Type.Optional(
    Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER, description: 'Made from this template' }),
  ),
};
export const JobQuerySchema = Closed({
  ...pageQuery,
  ...jobFilters,
  sort: Type.Optional(
    Type.Enum(jobSorts, {
      default: 'name',
      description: 'By name, by last change (newest first), or by last run (newest first)',
    }),
  ),
  /** Whether `total` reports the count over all pages. */
  count: Type.Optional(Type.Boolean()),
});
export type JobQuery = Static<typeof JobQuerySchema>;
export const JobPageSchema = Type.Object({
  ...Page(JobListItemSchema).properties,
  /** Only with `count=true`. */
  total: Type.Optional(Type.Integer()),
});
export type JobPage = Static<typeof JobPageSchema>;

const Note = Type.String({
  maxLength: 1_000,
  pattern: descriptionPattern,
  description: 'Why, for the history',
});
/** State of a new job: `active` by default. */
const FirstState = Type.Enum(['draft', 'active']);
/** A definition with a state and a note. */
export const CreateJobFromDefinitionSchema = Closed({
  definition: JobDefinitionSchema,
  state: Type.Optional(FirstState),
  note: Type.Optional(Note),
});
/** Makes a job from a template: the template's definition with these parameters filled in. */
export const CreateJobFromTemplateSchema = Closed({
  from_template: Closed({
    id: Id,
    /** Number, tag or channel of a version of the template; by default the current one. */
    version: Type.Optional(VersionReference),
  }),
  name: DisplayName(),
  description: Type.Optional(Description(10_000)),
  /** By default the template's. */
  category: Type.Optional(CategoryPath()),
  /** By default the template's. */
  labels: Type.Optional(LabelsSchema),
  /** Values that become the defaults of these parameters. */
  parameters: Type.Optional(Type.Record(Identifier(), Type.Unknown(), { additionalProperties: false })),
  /** For these parameters, only the given value is allowed: a run can't change it. */
  fixed: Type.Optional(Type.Array(Identifier(), { maxItems: limits.maxParametersPerJob, uniqueItems: true })),
  state: Type.Optional(FirstState),
  note: Type.Optional(Note),
});
export type CreateJobFromTemplate = Static<typeof CreateJobFromTemplateSchema>;
/** A job is created from its bare definition, from one with a state and a note, or from a template. */
export const CreateJobRequestSchema = Type.Union([
  JobDefinitionSchema,
  CreateJobFromDefinitionSchema,
  CreateJobFromTemplateSchema,
]);
/** Saves a definition as a new version. Category, labels and template stay as they are if the definition omits them. */
export const SaveJobRequestSchema = Closed({
  definition: JobDefinitionSchema,
  /**
   * The version that the change is based on; 409 if another one is current by now. The header `If-Match: "3"` does the
   * same.
   */
  expectedVersion: Type.Optional(Type.Integer({ minimum: 1, maximum: 2_147_483_647 })),
  note: Type.Optional(Note),
});
/** As for creating a job: the bare definition, or one with further fields. */
export const SaveJobBodySchema = Type.Union([JobDefinitionSchema, SaveJobRequestSchema]);
export const SaveJobReplySchema = Type.Object({
  job: JobSchema,
  /** `false` if the definition equals the current version. */
  isNewVersion: Type.Boolean(),
  /** What was done, in a sentence. */
  message: Type.String(),
  warnings,
});
export type SaveJobReply = Static<typeof SaveJobReplySchema>;
export const JobStateRequestSchema = Closed({ state: Type.Enum(jobStates), note: Type.Optional(Note) });
export type JobStateRequest = Static<typeof JobStateRequestSchema>;

export const StartRunRequestSchema = Closed({
  ...selectionFields,
  /** Number, tag or channel of the version to run; by default the current one. The run keeps that version. */
  version: Type.Optional(VersionReference),
  start_within: Type.Optional(Type.Integer({ minimum: 1, maximum: 30 * 86_400 })),
  /** A priority above the job's own needs permission to edit the job. */
  priority: Type.Optional(Priority),
  /** Replaces the job's strategy; if the job has one, that needs permission to edit the job. */
  strategy: Type.Optional(StrategySchema),
  /** A timeout longer than the job's own needs permission to edit the job. */
  timeout: Type.Optional(RunTimeout),
  /** A secret that is given here unsealed is sealed by the server at once and never stored in the clear. */
  parameters: Type.Optional(ParameterValuesSchema),
  secretParameters: Type.Optional(SecretParametersSchema),
  /** Why it is run; kept with the run. */
  reason: Type.Optional(Description(1_000)),
  /** What signers allow; needed if agents of its segments run only what is signed. */
  grant: Type.Optional(SignedGrantSchema),
});
export type StartRunRequest = Static<typeof StartRunRequestSchema>;
/** The parts of a start request that decide where the run takes place. */
export const RunSealingKeysRequestSchema = Closed({
  ...selectionFields,
  version: Type.Optional(VersionReference),
});
export type RunSealingKeysRequest = Static<typeof RunSealingKeysRequestSchema>;
export const rerunChoices = ['failed', 'unknown', 'not_succeeded', 'all'] as const;
export type RerunChoice = (typeof rerunChoices)[number];
export const RerunRequestSchema = Closed({
  which: Type.Enum(rerunChoices, {
    description:
      'Targets by how the run ended on them. `failed`: failed or timed out. `not_succeeded`: also cancelled and unknown.',
  }),
  from_step: Type.Optional(
    Type.Union([Type.Integer({ minimum: 1, maximum: limits.maxStepsPerJob }), Type.Literal('failed')], {
      description:
        'Number of the first step to run; `failed`: on each target, the first step that did not succeed. Earlier steps are skipped',
    }),
  ),
});
export type RerunRequest = Static<typeof RerunRequestSchema>;
