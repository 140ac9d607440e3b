// One action on many jobs: all of them change, or none.
import { type Static, Type } from 'typebox';
import { limits } from '../../limits.ts';
import { Closed, Id } from '../schema-parts.ts';
import { LabelName, LabelsSchema } from '../targets/targets.ts';
import { descriptionPattern } from '../text.ts';
import { CategoryPath } from './categories.ts';
import { jobFilters } from './jobs.ts';

export const bulkJobActions = [
  'activate',
  'deactivate',
  'archive',
  'restore',
  'categorise',
  'label',
  'unlabel',
  'delete',
] as const;
export type BulkJobAction = (typeof bulkJobActions)[number];
export const BulkJobRequestSchema = Closed({
  /** Exactly one of `ids` and `filter`. */
  ids: Type.Optional(Type.Array(Id, { minItems: 1, maxItems: limits.maxJobsPerBulk, uniqueItems: true })),
  filter: Type.Optional(Closed(jobFilters)),
  action: Type.Enum(bulkJobActions),
  /** For `categorise`. */
  category: Type.Optional(CategoryPath()),
  /** For `label`. */
  labels: Type.Optional(LabelsSchema),
  /** For `unlabel`. */
  labelNames: Type.Optional(Type.Array(LabelName, { minItems: 1, maxItems: 64, uniqueItems: true })),
  note: Type.Optional(Type.String({ maxLength: 1_000, pattern: descriptionPattern })),
  /** Reports what would be done, without doing it. */
  dryRun: Type.Optional(Type.Boolean()),
});
export type BulkJobRequest = Static<typeof BulkJobRequestSchema>;
export const BulkJobReplySchema = Type.Object({
  selected: Type.Integer(),
  /** Jobs that the action changes. */
  changed: Type.Integer(),
  dryRun: Type.Boolean(),
  /** The first 200 jobs that change, by name, with their state before and after. */
  plan: Type.Array(Type.Object({ id: Id, name: Type.String(), before: Type.String(), after: Type.String() })),
  /** In a dry run, what prevents the action; without `dryRun` such a request is refused. */
  obstacles: Type.Array(Type.Object({ id: Id, name: Type.String(), message: Type.String() })),
});
export type BulkJobReply = Static<typeof BulkJobReplySchema>;
