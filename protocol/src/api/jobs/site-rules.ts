// An installation's own rules for its job definitions, in addition to the schema.
import { type Static, Type } from 'typebox';
import { DefinitionProblemSchema, siteRuleSeverities } from '../errors.ts';
import { Closed, Id, Nullable, Page, pageQuery, Timestamp } from '../schema-parts.ts';
import { Description, DisplayName, descriptionPattern } from '../text.ts';
import { CategoryPath } from './categories.ts';
import { type JobDefinition, JobDefinitionSchema } from './jobs.ts';
import { Expression } from './parameters.ts';

/** Whether a rule is evaluated once for each job, or once for each of its steps. */
export const siteRuleSubjects = ['job', 'step'] as const;
export type SiteRuleSubject = (typeof siteRuleSubjects)[number];

const ruleFields = {
  name: DisplayName(),
  description: Type.Optional(Description(2_000)),
  category: Type.Optional(
    Type.Union([CategoryPath(), Type.Null()], {
      description: 'Applies to jobs in this category and those below it; null for all jobs',
    }),
  ),
  selector: Type.Optional(
    Type.Union([Type.String({ minLength: 1, maxLength: 2_000 }), Type.Null()], {
      description:
        'Applies to jobs with these labels: `env=prod !legacy`; null for all. The selector language, but only labels',
    }),
  ),
  per: Type.Optional(
    Type.Enum(siteRuleSubjects, {
      default: 'job',
      description:
        'Evaluated once for each `job`, or for each `step`, which the condition then refers to as `step`',
    }),
  ),
  condition: Type.String({
    ...Expression(),
    description:
      'CEL that is true if the rule is kept. `job` is the definition with its defaults, `note` the note of the save',
  }),
  message: Type.String({
    minLength: 1,
    maxLength: 500,
    pattern: descriptionPattern,
    description: 'Message for the person who breaks the rule: what it requires, and why',
  }),
  path: Type.Optional(
    Type.String({
      maxLength: 200,
      pattern: '^([A-Za-z_][A-Za-z0-9_]*(\\[[0-9]+\\])?(\\.[A-Za-z_][A-Za-z0-9_]*(\\[[0-9]+\\])?)*)?$',
      description: 'Field at which the message is shown, such as `timeout`; for a step, `config.timeout`',
    }),
  ),
  severity: Type.Optional(
    Type.Enum(siteRuleSeverities, {
      default: 'error',
      description:
        '`error`: a definition that breaks the rule can’t be saved. `warning`: it is saved with a warning',
    }),
  ),
  isEnabled: Type.Optional(Type.Boolean({ default: true })),
};
export const CreateSiteRuleRequestSchema = Closed(ruleFields);
export type CreateSiteRuleRequest = Static<typeof CreateSiteRuleRequestSchema>;
/** Replaces the whole rule: omitted fields take their defaults. */
export const UpdateSiteRuleRequestSchema = Closed({
  ...ruleFields,
  /** The version that the change is based on; 409 if it was changed since. The header `If-Match: "3"` does the same. */
  expectedVersion: Type.Optional(Type.Integer({ minimum: 1, maximum: 2_147_483_647 })),
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
  /** Incremented by each change. */
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
  /** Jobs examined for this page, and those among them to which the rule applies. */
  looked: Type.Integer(),
  inScope: Type.Integer(),
  nextCursor: Nullable(
    Type.String({
      description:
        'Pass as `cursor` to continue; null if all jobs have been examined. A page examines a limited number of jobs, so it may have few items or none',
    }),
  ),
});
export type SiteRuleViolationPage = Static<typeof SiteRuleViolationPageSchema>;
/** Tries out a rule that is not saved, or a change to one: which jobs would break it. */
export const TrySiteRuleRequestSchema = Closed({
  rule: CreateSiteRuleRequestSchema,
  limit: pageQuery.limit,
  cursor: pageQuery.cursor,
});

/** Checks a definition without saving it. */
export const ValidateJobRequestSchema = Closed({
  definition: JobDefinitionSchema,
  /** The job that it would be saved as: its category and labels apply if the definition names none. */
  jobId: Type.Optional(Id),
  /** The note of the save, which site rules may check. */
  note: Type.Optional(Type.String({ maxLength: 1_000, pattern: descriptionPattern })),
});
/** As for creating a job: the bare definition, or one with further fields. */
export const ValidateJobBodySchema = Type.Union([JobDefinitionSchema, ValidateJobRequestSchema]);
export const ValidateJobReplySchema = Type.Object({
  /** Whether it can be saved, that is, no problem is an error. */
  valid: Type.Boolean(),
  problems: Type.Array(DefinitionProblemSchema),
  definition: Type.Unsafe<JobDefinition | null>(
    Type.Unknown({
      description: 'As it would take effect, with defaults filled in; null if it is not valid in itself',
    }),
  ),
  /** Paths of values that were filled in by default. */
  defaults: Type.Array(Type.String()),
});
export type ValidateJobReply = Static<typeof ValidateJobReplySchema>;
