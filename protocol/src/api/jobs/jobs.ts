// Job definitions and what lists say of them. A definition is stored as an immutable version.
import { type Static, Type } from 'typebox';
import { SignedGrantSchema } from '../../grants/run-grant.ts';
import { limits } from '../../limits.ts';
import { retryReasons } from '../../outcome.ts';
import { jobStates, runStatuses } from '../../states.ts';
import { Closed, DefinitionProblemSchema, Id, Nullable, Page, pageQuery, Timestamp } from '../common.ts';
import { LockSchema, Priority, StrategySchema } from '../runs/strategy.ts';
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

/** Step types this server knows. Each has a configuration schema of its own (protocol/src/steps). */
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
  config: Type.Unknown({ description: 'An object: what the step type asks for' }),
});
export const versionNamePattern = '^(?![0-9]+$)[A-Za-z0-9][A-Za-z0-9._-]{0,63}$';
/** A tag or channel. */
export const VersionNameText = Type.String({
  maxLength: 64,
  pattern: versionNamePattern,
  description: 'Letters, digits, dots, hyphens and underscores; not digits alone',
});
/** How a version is named: by its number, a tag or a channel. */
export const VersionReference = Type.Union([
  Type.Integer({ minimum: 1, maximum: 2_147_483_647 }),
  VersionNameText,
]);
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
  category: Type.Optional(CategoryPath()),
  /** Belong to the job and not to a version. */
  labels: Type.Optional(LabelsSchema),
  /** Other jobs are made from it; it is run for trial only. Belongs to the job and not to a version. */
  template: Type.Optional(Type.Boolean()),
  start_within: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: 30 * 86_400,
      default: limits.startWithinS,
      description:
        'Seconds that a run may wait for its first step to start, and each later step for an agent or a lock while nothing of the run goes on in its segment; then it ends `timed_out`',
    }),
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
  /** Masks private keys and tokens of well-known forms in its output, too; as the installation is set unless told. */
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
  /** Of the current version. */
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
  /** The version of the template that it was made from. */
  version: Type.Integer(),
  /** The template's current one. */
  newestVersion: Type.Integer(),
});
export const versionNameKinds = ['tag', 'channel'] as const;
export type VersionNameKind = (typeof versionNameKinds)[number];
/** A name of a version: a tag stays, a channel moves. */
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
  /** What was said when it came into its state. */
  stateNote: Type.String(),
  /** What its state may become. */
  nextStates: Type.Array(Type.Enum(jobStates)),
  /** Null for a job that was written, or whose template is gone or not to be seen by the caller. */
  madeFrom: Nullable(MadeFromSchema),
  /** Tags and channels. */
  names: Type.Array(VersionNameSchema),
  /** Of the current version: when, by whom and with what note it was saved. */
  savedAt: Timestamp,
  savedBy: Type.String(),
  note: Type.String(),
  /** With defaults filled in. */
  definition: JobDefinitionSchema,
  checksum: Type.String({
    description: 'SHA-256 of the definition as stored, which is without category, labels and template; hex',
  }),
});
export type Job = Static<typeof JobSchema>;
/** What breaks a site rule that only warns is saved, and told of. */
const warnings = Type.Optional(Type.Array(DefinitionProblemSchema));
export const CreatedJobSchema = Type.Object({ ...JobSchema.properties, warnings });
/** With `defaults=true` the definition is as it takes effect. */
export const ShownJobSchema = Type.Object({
  ...JobSchema.properties,
  defaults: Type.Optional(
    Type.Array(Type.String(), { description: 'Paths of what is as it is unless told; with `defaults=true`' }),
  ),
  serverDefaults: Type.Optional(
    Type.Object(
      { detect_secrets: Type.Boolean() },
      { description: 'What holds where a definition does not say it, as the server that answers is set' },
    ),
  ),
});
export type ShownJob = Static<typeof ShownJobSchema>;
export const ShowJobQuerySchema = Closed({
  defaults: Type.Optional(
    Type.Boolean({
      description:
        'The definition as it takes effect: with what holds where it says nothing, told of in `defaults`',
    }),
  ),
});
export type CreatedJob = Static<typeof CreatedJobSchema>;
export const jobSorts = ['name', 'updated', 'lastRun'] as const;
export type JobSort = (typeof jobSorts)[number];
/** What jobs are looked for by, in lists and for bulk actions. All that is given must fit. */
export const jobFilters = {
  search: Type.Optional(
    Type.String({ maxLength: 100, description: 'Part of name, description or a label (`env=prod`)' }),
  ),
  category: Type.Optional(Type.String({ maxLength: 200, description: 'A category, with those below it' })),
  /** `env=prod,critical`: each a `name` or `name=value`. */
  label: Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: 1_000,
      description: '`name` or `name=value`; several with commas',
    }),
  ),
  stepType: Type.Optional(Type.String({ maxLength: 50 })),
  state: Type.Optional(
    Type.String({
      maxLength: 100,
      description: 'One or more states, comma-separated; without it all but archived',
    }),
  ),
  author: Type.Optional(Type.String({ maxLength: 100, description: 'Name of who created it' })),
  lastResult: Type.Optional(
    Type.String({
      maxLength: 200,
      description: 'What its last run is, one or more statuses, comma-separated; `none` for never run',
    }),
  ),
  createdAfter: Type.Optional(Timestamp),
  createdBefore: Type.Optional(Timestamp),
  updatedAfter: Type.Optional(Timestamp),
  updatedBefore: Type.Optional(Timestamp),
  template: Type.Optional(Type.Boolean({ description: 'Templates only, or none' })),
  madeFrom: Type.Optional(Type.Integer({ minimum: 1, description: 'Made from this template' })),
};
export const JobQuerySchema = Closed({
  ...pageQuery,
  ...jobFilters,
  sort: Type.Optional(
    Type.Enum(jobSorts, {
      default: 'name',
      description: 'By name, by when it was changed last (newest first), or by its last run (newest first)',
    }),
  ),
  /** Says in `total` how many there are on all pages. */
  count: Type.Optional(Type.Boolean()),
});
export type JobQuery = Static<typeof JobQuerySchema>;
export const JobPageSchema = Type.Object({
  ...Page(JobListItemSchema).properties,
  /** With `count=true`. */
  total: Type.Optional(Type.Integer()),
});
export type JobPage = Static<typeof JobPageSchema>;

const Note = Type.String({
  maxLength: 1_000,
  pattern: descriptionPattern,
  description: 'Why; for the history',
});
/** What a new job begins as: `active` unless told. */
const FirstState = Type.Enum(['draft', 'active']);
/** A definition with what is said beside it. */
export const CreateJobFromDefinitionSchema = Closed({
  definition: JobDefinitionSchema,
  state: Type.Optional(FirstState),
  note: Type.Optional(Note),
});
/** A job made from a template: its definition with these parameters filled. */
export const CreateJobFromTemplateSchema = Closed({
  from_template: Closed({
    id: Id,
    /** Number, tag or channel of a version of the template; the current one unless told. */
    version: Type.Optional(VersionReference),
  }),
  name: DisplayName(),
  description: Type.Optional(Description(10_000)),
  /** The template's unless told. */
  category: Type.Optional(CategoryPath()),
  /** The template's unless told. */
  labels: Type.Optional(LabelsSchema),
  /** Values that become the defaults of these parameters. */
  parameters: Type.Optional(Type.Record(Identifier(), Type.Unknown(), { additionalProperties: false })),
  /** Of these parameters the value given is the only one allowed: a run can't change it. */
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
/**
 * Saves a definition as a new version. Category, labels and template stay as they are where the definition doesn't name
 * them.
 */
export const SaveJobRequestSchema = Closed({
  definition: JobDefinitionSchema,
  /** The version that was changed; 409 when another one is current by now. Or the header `If-Match: "3"`. */
  expectedVersion: Type.Optional(Type.Integer({ minimum: 1 })),
  note: Type.Optional(Note),
});
/** As for creating a job: the bare definition, or one with what is said beside it. */
export const SaveJobBodySchema = Type.Union([JobDefinitionSchema, SaveJobRequestSchema]);
export const SaveJobReplySchema = Type.Object({
  job: JobSchema,
  /** False where the definition is that of the current version. */
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
  /** Number, tag or channel of the version to run; the current one unless told. The run keeps to it. */
  version: Type.Optional(VersionReference),
  start_within: Type.Optional(Type.Integer({ minimum: 1, maximum: 30 * 86_400 })),
  /** Above the job's own: for who may edit the job. */
  priority: Type.Optional(Priority),
  /** In place of the job's; where it has one, for who may edit the job. */
  strategy: Type.Optional(StrategySchema),
  /** Longer than the job's own: for who may edit the job. */
  timeout: Type.Optional(RunTimeout),
  /** A secret that is given here and not sealed is sealed by the server at once, and never stored in the clear. */
  parameters: Type.Optional(ParameterValuesSchema),
  secretParameters: Type.Optional(SecretParametersSchema),
  /** Why it is run; kept with it. */
  reason: Type.Optional(Description(1_000)),
  /** What signers allow, where agents of its segments run only what is signed. */
  grant: Type.Optional(SignedGrantSchema),
});
export type StartRunRequest = Static<typeof StartRunRequestSchema>;
/** What of a run's start says where it will run. */
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
