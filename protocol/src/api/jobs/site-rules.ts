// Rules of an installation for its job definitions, beside what the schema asks of all.
import { type Static, Type } from 'typebox';
import {
  Closed,
  DefinitionProblemSchema,
  Id,
  Nullable,
  Page,
  pageQuery,
  siteRuleSeverities,
  Timestamp,
} from '../common.ts';
import { Description, DisplayName, descriptionPattern } from '../text.ts';
import { CategoryPath } from './categories.ts';
import { type JobDefinition, JobDefinitionSchema } from './jobs.ts';
import { Expression } from './parameters.ts';

/** Whether a rule is asked once of each job, or of each of its steps. */
export const siteRuleSubjects = ['job', 'step'] as const;
export type SiteRuleSubject = (typeof siteRuleSubjects)[number];

const ruleFields = {
  name: DisplayName(),
  description: Type.Optional(Description(2_000)),
  category: Type.Optional(
    Type.Union([CategoryPath(), Type.Null()], {
      description: 'For jobs in this category and those below it; null for jobs in all',
    }),
  ),
  selector: Type.Optional(
    Type.Union([Type.String({ minLength: 1, maxLength: 2_000 }), Type.Null()], {
      description:
        'For jobs with such labels: `env=prod !legacy`; null for all. The selector language, labels only',
    }),
  ),
  per: Type.Optional(
    Type.Enum(siteRuleSubjects, {
      default: 'job',
      description:
        'Asked once of each `job`, or of each `step`, which the condition then speaks of as `step`',
    }),
  ),
  condition: Type.String({
    ...Expression(),
    description:
      'CEL that is true of what keeps the rule. `job` is the definition with its defaults, `note` what was said with the save',
  }),
  message: Type.String({
    minLength: 1,
    maxLength: 500,
    pattern: descriptionPattern,
    description: 'What whoever breaks it is told: what is asked for, and why',
  }),
  path: Type.Optional(
    Type.String({
      maxLength: 200,
      pattern: '^([A-Za-z_][A-Za-z0-9_]*(\\[[0-9]+\\])?(\\.[A-Za-z_][A-Za-z0-9_]*(\\[[0-9]+\\])?)*)?$',
      description: 'The field that the message is shown at: `timeout`, of a step `config.timeout`',
    }),
  ),
  severity: Type.Optional(
    Type.Enum(siteRuleSeverities, {
      default: 'error',
      description: '`error`: what breaks it is not saved. `warning`: it is saved, and told of',
    }),
  ),
  isEnabled: Type.Optional(Type.Boolean({ default: true })),
};
export const CreateSiteRuleRequestSchema = Closed(ruleFields);
export type CreateSiteRuleRequest = Static<typeof CreateSiteRuleRequestSchema>;
/** The rule as a whole: what is left out takes its default. */
export const UpdateSiteRuleRequestSchema = Closed({
  ...ruleFields,
  /** The version that was changed; 409 when it was changed again since. Or the header `If-Match: "3"`. */
  expectedVersion: Type.Optional(Type.Integer({ minimum: 1 })),
});
export type UpdateSiteRuleRequest = Static<typeof UpdateSiteRuleRequestSchema>;

export const SiteRuleSchema = Type.Object({
  id: Id,
  name: Type.String(),
  description: Type.String(),
  category: Nullable(Type.String()),
  selector: Nullable(Type.String()),
  per: Type.Enum(siteRuleSubjects),
  condition: Type.String(),
  message: Type.String(),
  path: Type.String(),
  severity: Type.Enum(siteRuleSeverities),
  isEnabled: Type.Boolean(),
  /** Goes up with each change. */
  version: Type.Integer(),
  createdBy: Type.String(),
  createdAt: Timestamp,
  updatedBy: Type.String(),
  updatedAt: Timestamp,
});
export type SiteRule = Static<typeof SiteRuleSchema>;
export const SiteRulePageSchema = Page(SiteRuleSchema);
export type SiteRulePage = Static<typeof SiteRulePageSchema>;

export const SiteRuleViolationQuerySchema = Closed(pageQuery);
export const SiteRuleViolationPageSchema = Type.Object({
  items: Type.Array(
    Type.Object({
      jobId: Id,
      jobName: Type.String(),
      category: Type.String(),
      version: Type.Integer(),
      state: Type.String(),
      problems: Type.Array(DefinitionProblemSchema),
    }),
  ),
  /** Jobs that this page looked at; those in the rule’s scope among them. */
  looked: Type.Integer(),
  inScope: Type.Integer(),
  nextCursor: Nullable(
    Type.String({
      description:
        'Where to go on; null when all jobs were looked at. A page may have few items or none and go on: it looks at so many jobs at most',
    }),
  ),
});
export type SiteRuleViolationPage = Static<typeof SiteRuleViolationPageSchema>;
/** A rule that is not saved, or not yet as changed: which jobs would break it. */
export const TrySiteRuleRequestSchema = Closed({
  rule: CreateSiteRuleRequestSchema,
  limit: pageQuery.limit,
  cursor: pageQuery.cursor,
});

/** Checks a definition without saving it. */
export const ValidateJobRequestSchema = Closed({
  definition: JobDefinitionSchema,
  /** The job that it would be saved as: its category and labels hold where the definition names none. */
  jobId: Type.Optional(Id),
  /** What would be said with the save: site rules may ask for it. */
  note: Type.Optional(Type.String({ maxLength: 1_000, pattern: descriptionPattern })),
});
/** As for creating a job: the bare definition, or one with what is said beside it. */
export const ValidateJobBodySchema = Type.Union([JobDefinitionSchema, ValidateJobRequestSchema]);
export const ValidateJobReplySchema = Type.Object({
  /** Whether it can be saved: no problem is an error. */
  valid: Type.Boolean(),
  problems: Type.Array(DefinitionProblemSchema),
  definition: Type.Unsafe<JobDefinition | null>(
    Type.Unknown({
      description: 'As it would take effect, with defaults filled in; null where it is not right in itself',
    }),
  ),
  /** Paths of what is as it is unless told. */
  defaults: Type.Array(Type.String()),
});
export type ValidateJobReply = Static<typeof ValidateJobReplySchema>;
